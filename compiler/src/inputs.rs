//! The arrays of a call, written short.

/// The arrays of a call: by position, in the order of the file (inputs, then targets), or by name.
///
/// Takes arrays and views of `f32` and `i32`; nothing is copied that is in row-major order.
///
/// # Examples
/// ```
/// use ndarray::{Array1, Array2};
/// use netc::{Net, SessionOptions, inputs};
///
/// let text = "net m {\n  input x[2]\n  target y: token(3)\n  z = dense(3)\n  output z\n  loss cross_entropy(z, y)\n}";
/// let mut session = Net::from_source("m.net", text).compile(&SessionOptions::default())?;
/// let (x, y) = (Array2::<f32>::ones((5, 2)), Array1::<i32>::zeros(5));
/// let first = session.evaluate(inputs![x, y])?;
/// let second = session.evaluate(inputs!["y" => y, "x" => x.view()])?;
/// assert_eq!(first.loss(), second.loss());
/// # Ok::<(), netc::Error>(())
/// ```
#[macro_export]
macro_rules! inputs {
    ($($name:literal => $array:expr),+ $(,)?) => {
        &[$(($name, $crate::TensorView::from(&$array))),+]
    };
    (@ [$($done:tt)*] [$position:literal $($more:literal)*] $array:expr $(, $($rest:expr),+)?) => {
        $crate::inputs!(@ [$($done)* ($position, $crate::TensorView::from(&$array)),] [$($more)*] $($($rest),+)?)
    };
    (@ [$($done:tt)*] [$($more:literal)*]) => {
        &[$($done)*]
    };
    ($($array:expr),* $(,)?) => {
        $crate::inputs!(@ [] ["0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11" "12" "13" "14" "15"] $($array),*)
    };
}
