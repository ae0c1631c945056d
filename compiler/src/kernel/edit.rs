//! Changes to a kernel's expressions that keep them in order.

use super::{Expr, IntExpr, Kernel, Scalar};
use crate::index::{Id, IndexVec};

impl Kernel {
    /// Puts expressions that depend on no others before all that there are; says the first's id.
    pub fn insert_first(&mut self, scalars: Vec<Scalar>) -> Expr {
        assert!(scalars.iter().all(|scalar| scalar.operands().is_empty()), "they come first: {scalars:?}");
        let by = scalars.len();
        let shift = |expr: &mut Expr| *expr = Expr::new(expr.index() + by);
        let mut exprs: IndexVec<Expr, Scalar> = IndexVec::new();
        scalars.into_iter().for_each(|scalar| _ = exprs.push(scalar));
        for (_, scalar) in self.exprs.iter() {
            let mut scalar = scalar.clone();
            scalar.operands_mut().into_iter().for_each(shift);
            exprs.push(scalar);
        }
        self.exprs = exprs;
        self.stores.iter_mut().for_each(|store| shift(&mut store.value));
        for (_, int) in self.ints.iter_mut() {
            if let IntExpr::Value(expr) = int {
                shift(expr);
            }
        }
        Expr::new(0)
    }
}

impl Scalar {
    /// As [`Scalar::operands`].
    fn operands_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Scalar::Const(_) | Scalar::Load { .. } | Scalar::Position(_) => Vec::new(),
            Scalar::Convert(x) | Scalar::Unary(_, x) => vec![x],
            Scalar::Binary(_, a, b) | Scalar::Compare(_, a, b) => vec![a, b],
            Scalar::Select(condition, a, b) => vec![condition, a, b],
            Scalar::Reduce { body, .. } | Scalar::Guard { body, .. } => vec![body],
            Scalar::Random { key, .. } => key.iter_mut().collect(),
        }
    }
}
