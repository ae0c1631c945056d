//! The operations that elementary functions and random numbers are written in, and their meaning on `f32`.

/// The operations that the functions of this module are written in.
///
/// `F` and `I` are vectors (or scalars) of `f32` and `i32` with the same number of lanes, `M` a lane mask.
pub trait Arith {
    /// Floats.
    type F: Copy;
    /// Integers of 32 bits that wrap around.
    type I: Copy;
    /// The result of a comparison.
    type M: Copy;

    /// The float `x` in every lane.
    fn float(&mut self, x: f32) -> Self::F;
    /// The integer `x` in every lane.
    fn int(&mut self, x: i32) -> Self::I;

    /// `a + b`.
    fn add(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`.
    fn sub(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`.
    fn mul(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`.
    fn div(&mut self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c` with one rounding; with two where the machine has no such instruction.
    fn mul_add(&mut self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `c - a * b`, rounded as [`Arith::mul_add`].
    fn neg_mul_add(&mut self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;

    /// `a < b`; false where either is NaN.
    fn less(&mut self, a: Self::F, b: Self::F) -> Self::M;
    /// `a == b`; false where either is NaN.
    fn equal(&mut self, a: Self::F, b: Self::F) -> Self::M;
    /// `a` where the mask holds, else `b`.
    fn select(&mut self, mask: Self::M, a: Self::F, b: Self::F) -> Self::F;

    /// The bits of a float.
    fn bits(&mut self, x: Self::F) -> Self::I;
    /// The float of these bits.
    fn float_of_bits(&mut self, x: Self::I) -> Self::F;
    /// The float nearest to a signed integer.
    fn to_float(&mut self, x: Self::I) -> Self::F;

    /// `a + b`, wrapping.
    fn iadd(&mut self, a: Self::I, b: Self::I) -> Self::I;
    /// `a - b`, wrapping.
    fn isub(&mut self, a: Self::I, b: Self::I) -> Self::I;
    /// `a * b`, wrapping.
    fn imul(&mut self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise and.
    fn iand(&mut self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise or.
    fn ior(&mut self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise exclusive or.
    fn ixor(&mut self, a: Self::I, b: Self::I) -> Self::I;
    /// `a` shifted left by `by < 32`.
    fn shl(&mut self, a: Self::I, by: u32) -> Self::I;
    /// `a` shifted right by `by < 32`, zeros entering.
    fn ushr(&mut self, a: Self::I, by: u32) -> Self::I;
    /// `a` shifted right by `by < 32`, copies of the sign entering.
    fn sshr(&mut self, a: Self::I, by: u32) -> Self::I;

    /// `a < b ? a : b`, which is `b` where either is NaN (x86's `minps`).
    fn min(&mut self, a: Self::F, b: Self::F) -> Self::F {
        let mask = self.less(a, b);
        self.select(mask, a, b)
    }
    /// `a > b ? a : b`, which is `b` where either is NaN (x86's `maxps`).
    fn max(&mut self, a: Self::F, b: Self::F) -> Self::F {
        let mask = self.less(b, a);
        self.select(mask, a, b)
    }
    /// `|x|`.
    fn abs(&mut self, x: Self::F) -> Self::F {
        let mask = self.int(0x7fff_ffff);
        let bits = self.bits(x);
        let bits = self.iand(bits, mask);
        self.float_of_bits(bits)
    }
    /// The magnitude of `x`, which is not negative, with the sign of `sign`.
    fn with_sign(&mut self, x: Self::F, sign: Self::F) -> Self::F {
        let mask = self.int(i32::MIN);
        let sign = self.bits(sign);
        let sign = self.iand(sign, mask);
        let bits = self.bits(x);
        let bits = self.ior(bits, sign);
        self.float_of_bits(bits)
    }
}

/// The arithmetic of `f32`, one value at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scalar;

macro_rules! scalar_operations {
    ($($name:ident($a:ident: $left:ty, $b:ident: $right:ty) -> $result:ty = $value:expr;)*) => {
        $(fn $name(&mut self, $a: $left, $b: $right) -> $result { $value })*
    };
}

impl Arith for Scalar {
    type F = f32;
    type I = i32;
    type M = bool;

    fn float(&mut self, x: f32) -> f32 {
        x
    }
    fn int(&mut self, x: i32) -> i32 {
        x
    }
    fn mul_add(&mut self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    fn neg_mul_add(&mut self, a: f32, b: f32, c: f32) -> f32 {
        (-a).mul_add(b, c)
    }
    fn select(&mut self, mask: bool, a: f32, b: f32) -> f32 {
        if mask { a } else { b }
    }
    fn bits(&mut self, x: f32) -> i32 {
        x.to_bits().cast_signed()
    }
    fn float_of_bits(&mut self, x: i32) -> f32 {
        f32::from_bits(x.cast_unsigned())
    }
    fn to_float(&mut self, x: i32) -> f32 {
        x as f32
    }
    scalar_operations! {
        add(a: f32, b: f32) -> f32 = a + b;
        sub(a: f32, b: f32) -> f32 = a - b;
        mul(a: f32, b: f32) -> f32 = a * b;
        div(a: f32, b: f32) -> f32 = a / b;
        less(a: f32, b: f32) -> bool = a < b;
        equal(a: f32, b: f32) -> bool = a == b;
        iadd(a: i32, b: i32) -> i32 = a.wrapping_add(b);
        isub(a: i32, b: i32) -> i32 = a.wrapping_sub(b);
        imul(a: i32, b: i32) -> i32 = a.wrapping_mul(b);
        iand(a: i32, b: i32) -> i32 = a & b;
        ior(a: i32, b: i32) -> i32 = a | b;
        ixor(a: i32, b: i32) -> i32 = a ^ b;
        shl(a: i32, by: u32) -> i32 = a << by;
        ushr(a: i32, by: u32) -> i32 = (a.cast_unsigned() >> by).cast_signed();
        sshr(a: i32, by: u32) -> i32 = a >> by;
    }
}
