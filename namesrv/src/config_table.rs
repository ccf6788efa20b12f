//! The `config!` table: a row gives a field its Java key, default and documentation, and says whether a
//! change at run time counts at once. Used by [`crate::config`] only.

/// A type that a configuration value can have.
pub(crate) trait ConfigValue: Sized {
    /// How the type is called in an error.
    const EXPECTED: &'static str;
    fn parse(text: &str) -> Option<Self>;
    fn text(&self) -> String;
}

impl ConfigValue for String {
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

impl ConfigValue for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

macro_rules! number {
    ($($ty:ty),*) => {$(
        impl ConfigValue for $ty {
            const EXPECTED: &'static str = "a whole number in range";

            fn parse(text: &str) -> Option<Self> {
                text.trim().parse().ok()
            }

            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
number!(u16, u32, u64, usize);

/// Declares a configuration: `field "javaKey": Type = default, live;` or `fixed`, which needs a restart.
macro_rules! config {
    ($(#[$about:meta])* $name:ident {
        $( $(#[doc = $doc:literal])+ $field:ident $java:literal : $ty:ty = $default:expr, $when:ident; )*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $( $(#[doc = $doc])+ #[doc = concat!("\n\n`", $java, "`, ", stringify!($when), ".")] pub $field: $ty, )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $name {
            /// Every key, in the order of the table.
            pub const KEYS: &'static [ConfigKey] = &[ $( ConfigKey {
                java: $java,
                about: concat!($($doc,)+),
                live: config!(@live $when),
            }, )* ];

            /// The text of a key's value; `None` if there is no such key.
            pub fn get(&self, key: &str) -> Option<String> {
                match key {
                    $( $java => Some($crate::config_table::ConfigValue::text(&self.$field)), )*
                    _ => None,
                }
            }

            /// Sets one key from its text.
            pub fn set(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
                match key {
                    $( $java => self.$field = $crate::config::value($java, text)?, )*
                    _ => return Err($crate::config::unknown(key)),
                }
                Ok(())
            }
        }
    };
    (@live live) => { true };
    (@live fixed) => { false };
}
pub(crate) use config;

/// Edits that turn one word into the other (Levenshtein), to name the key that was probably meant.
pub(crate) fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("listenPrt", "listenPort", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edit_distance(a, b), expected, "{a} {b}");
        }
    }
}
