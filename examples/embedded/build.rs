use netc_build::Build;

fn main() {
    let digits = || Build::new("../../models/digits.net");
    digits().weights("../../models/digits/digits.safetensors").compile();
    digits().name("learner").train(true).compile();
    netc_build::compile("../../models/filter.net");
}
