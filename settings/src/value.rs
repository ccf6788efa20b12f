//! How a configuration value is read from text and shown: one trait, a type a kind of value.

use std::ops::RangeInclusive;

/// A type that a configuration key can have.
pub trait ConfigValue: Sized {
    /// Reads the text; `None` if it is not of this type.
    fn read(text: &str) -> Option<Self>;
    /// The text that [`ConfigValue::read`] takes; `None` for a value that is not set.
    fn show(&self) -> Option<String>;
    /// What may stand there, for people.
    fn allowed() -> String;
    /// Whether the value lies in a row's range; only numbers have one.
    fn is_within(&self, _: &RangeInclusive<i64>) -> bool {
        true
    }
}

impl ConfigValue for bool {
    fn read(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("true") {
            Some(true)
        } else if text.eq_ignore_ascii_case("false") {
            Some(false)
        } else {
            None
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn allowed() -> String {
        "true or false".to_owned()
    }
}

impl ConfigValue for String {
    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.clone())
    }

    fn allowed() -> String {
        "a text".to_owned()
    }
}

/// A text that may be absent; the empty text is absence.
impl ConfigValue for Option<String> {
    fn read(text: &str) -> Option<Self> {
        Some((!text.is_empty()).then(|| text.to_owned()))
    }

    fn show(&self) -> Option<String> {
        self.clone()
    }

    fn allowed() -> String {
        "a text, or nothing".to_owned()
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl ConfigValue for $number {
            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn allowed() -> String {
                format!("a whole number from {} to {}", Self::MIN, Self::MAX)
            }

            fn is_within(&self, range: &RangeInclusive<i64>) -> bool {
                i64::try_from(*self).is_ok_and(|number| range.contains(&number))
            }
        }
    )*};
}
whole_numbers!(u16, i32, u32, i64, u64, usize);

/// Declares types whose values are words: `Name { Variant "WORD", … }`.
#[macro_export]
macro_rules! config_words {
    ($($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $word:ident $text:literal),* $(,)? })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $word),* }

        impl $crate::ConfigValue for $name {
            fn read(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$word),)* _ => None }
            }

            fn show(&self) -> Option<String> {
                Some(match self { $(Self::$word => $text),* }.to_owned())
            }

            fn allowed() -> String {
                [$($text),*].join(" or ")
            }
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::Flush;

    #[test]
    fn booleans_are_true_or_false_and_nothing_else() {
        assert_eq!(bool::read("TRUE"), Some(true));
        assert_eq!(bool::read("false"), Some(false));
        assert_eq!(bool::read("yes"), None);
    }

    #[test]
    fn an_empty_text_is_absence_where_absence_is_allowed() {
        assert_eq!(Option::<String>::read(""), Some(None));
        assert_eq!(String::read(""), None);
    }

    #[test]
    fn words_are_shown_as_they_are_read() {
        assert_eq!(Flush::read("ASYNC_FLUSH"), Some(Flush::Later));
        let now = Flush::read("SYNC_FLUSH").unwrap();
        assert_eq!(now.show().as_deref(), Some("SYNC_FLUSH"));
        assert_eq!(Flush::allowed(), "ASYNC_FLUSH or SYNC_FLUSH");
        assert_eq!(Flush::read("SYNC"), None);
    }
}
