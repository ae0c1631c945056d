mod support;
#[test]
fn nets() {
    for (name, text) in [
        ("ab", "net a { input x[3, 17, 13]\n conv5x5(6, sigmoid, stride = 2)\n conv3x3(6, groups = 6) }"),
        ("bg", "net a { input x[6, 9, 7]\n conv3x3(6, groups = 6) -> maxpool3x3(stride = 2, pad = 1) }"),
        ("gd", "net a { input x[6, 9, 7]\n maxpool3x3(stride = 2, pad = 1)\n conv3x3(8, softplus, pad = 2, dilation = 2, groups = 2) }"),
        ("df", "net a { input x[6, 5, 4]\n conv3x3(8, softplus, pad = 2, dilation = 2, groups = 2) -> conv2x4(4, pad = [1, 0]) }"),
        ("fh", "net a { input x[8, 5, 4]\n conv2x4(4, pad = [1, 0]) -> global_avgpool -> dense(2)}"),
        ("h", "net a { input x[8]\n dense(2)}"),
        ("hl", "net a { input x[8]\n target y[2]\n p = dense(2)\noutput p\nloss mse(p, y)}"),
    ] {
        let network = netc::check_source(name, text).unwrap();
        let r = std::panic::catch_unwind(|| support::check(name, &network.inference));
        println!("CASE {name} {}", r.is_ok());
    }
}
