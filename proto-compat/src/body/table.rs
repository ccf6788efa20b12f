//! The macros that declare bodies and the names that stand in them.

/// Declares bodies: `field "wireName": Type`, with `= default` where Java's default is not zero or
/// empty. Reading takes the default for what is absent and ignores what is unknown. Fields stand in
/// the alphabetical order of their wire names, as fastjson writes them.
macro_rules! bodies {
    ($(
        $(#[$about:meta])*
        $name:ident { $( $(#[$field_about:meta])* $field:ident $wire:literal : $ty:ty $(= $default:expr)? ),* $(,)? }
    )*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name { $(
            $(#[$field_about])*
            #[doc = concat!("`", $wire, "` in JSON.")]
            #[serde(rename = $wire)]
            pub $field: $ty,
        )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::body::table::bodies!(@default $($default)?), )* }
            }
        }
    )*};
    (@default $default:expr) => { $default };
    (@default) => { Default::default() };
}
pub(crate) use bodies;

/// Declares what Java has as an enum: its name in JSON, or in some clients its number, which is the
/// variant's place here. What is unknown reads as the default, as fastjson leaves the field alone.
macro_rules! names {
    ($(
        $(#[$about:meta])*
        $name:ident { $( $(#[$variant_about:meta])* $variant:ident $text:literal ),* $(,)? }
    )*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub enum $name { $( $(#[$variant_about])* #[doc = concat!("`", $text, "` in JSON.")] $variant, )* }

        impl $name {
            const ALL: &'static [Self] = &[$( Self::$variant ),*];

            /// Java's name.
            pub fn name(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }

            /// By Java's name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $( $text => Some(Self::$variant), )* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let found = deserializer.deserialize_any($crate::body::table::NameVisitor)?;
                Ok(match found {
                    $crate::body::table::Name::Text(name) => Self::from_name(&name),
                    $crate::body::table::Name::Number(place) => {
                        usize::try_from(place).ok().and_then(|place| Self::ALL.get(place)).copied()
                    }
                }
                .unwrap_or_default())
            }
        }
    )*};
}
pub(crate) use names;

/// How a peer names a variant.
pub(crate) enum Name {
    Text(String),
    Number(i64),
}

pub(crate) struct NameVisitor;

impl serde::de::Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name or its number")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(Name::Text(name.to_owned()))
    }

    fn visit_i64<E>(self, place: i64) -> Result<Name, E> {
        Ok(Name::Number(place))
    }

    fn visit_u64<E>(self, place: u64) -> Result<Name, E> {
        Ok(Name::Number(i64::try_from(place).unwrap_or(i64::MAX)))
    }
}
