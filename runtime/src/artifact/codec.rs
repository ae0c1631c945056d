//! Values as bytes and back: how a compiled network carries its description.

/// What can be written as bytes and read again.
pub trait Coded: Sized {
    /// Appends the value.
    fn put(&self, bytes: &mut Vec<u8>);
    /// Takes the value from the front; `None` when the bytes are not those of one.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Coded for $number {
            fn put(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let (first, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(<$number>::from_le_bytes(*first))
            }
        }
    )*};
}

numbers!(u8, u32, u64, i64, f32, f64);

impl Coded for bool {
    fn put(&self, bytes: &mut Vec<u8>) {
        u8::from(*self).put(bytes);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        match u8::take(bytes)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Coded for String {
    fn put(&self, bytes: &mut Vec<u8>) {
        (self.len() as u64).put(bytes);
        bytes.extend(self.as_bytes());
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let len = usize::try_from(u64::take(bytes)?).ok()?;
        let (text, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

impl<T: Coded> Coded for Vec<T> {
    fn put(&self, bytes: &mut Vec<u8>) {
        (self.len() as u64).put(bytes);
        self.iter().for_each(|item| item.put(bytes));
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let len = u64::take(bytes)?;
        (0..len).map(|_| T::take(bytes)).collect()
    }
}

impl<T: Coded> Coded for Option<T> {
    fn put(&self, bytes: &mut Vec<u8>) {
        self.is_some().put(bytes);
        if let Some(item) = self {
            item.put(bytes);
        }
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        if bool::take(bytes)? { T::take(bytes).map(Some) } else { Some(None) }
    }
}

/// Declares a struct, its fields written one after the other.
macro_rules! record {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty,)* }

        impl $crate::artifact::codec::Coded for $name {
            fn put(&self, bytes: &mut Vec<u8>) {
                $($crate::artifact::codec::Coded::put(&self.$field, bytes);)*
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                Some($name { $($field: $crate::artifact::codec::Coded::take(bytes)?,)* })
            }
        }
    };
}

/// Declares an enum, written as its number and then its fields.
macro_rules! choice {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$case_doc:meta])* $number:literal = $case:ident $({ $($field:ident: $ty:ty),* })?,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name { $($(#[$case_doc])* $case $({ $($field: $ty),* })?,)* }

        impl $crate::artifact::codec::Coded for $name {
            fn put(&self, bytes: &mut Vec<u8>) {
                match self {
                    $($name::$case $({ $($field),* })? => {
                        bytes.push($number);
                        $($($crate::artifact::codec::Coded::put($field, bytes);)*)?
                    })*
                }
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                match u8::take(bytes)? {
                    $($number => Some($name::$case $({ $($field: $crate::artifact::codec::Coded::take(bytes)?),* })?),)*
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use {choice, record};
