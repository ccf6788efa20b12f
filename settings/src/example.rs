//! Small tables for the tests of this crate.

use crate::{FixedKeys, Rules};

const STRICT: Rules = Rules {
    without_effect: &["rocketmqHome"],
    never_changed: &["storePath"],
    fixed_keys: FixedKeys::Refused,
};
const LENIENT: Rules = Rules {
    fixed_keys: FixedKeys::CountAtNextStart,
    ..STRICT
};

config_words! {
    /// When something is on disk.
    Flush { Later "ASYNC_FLUSH", Now "SYNC_FLUSH" }
}

config! {
    /// Settings whose fixed keys do not change at run time.
    Strict with STRICT {
        /// Name of
        /// the thing.
        name "thingName": String = "thing".to_owned(), fixed;
        /// Port.
        port "listenPort": u16 = 9876, fixed;
        /// Rights.
        permission "permission": i32 = 6, live in 0..=7;
        /// Whether it is on.
        is_on "isOn": bool = true, live;
        /// Where to.
        path "storePath": Option<String> = None, fixed;
        /// Keys that commands may not change.
        black_list "configBlackList": String = "isSecret".to_owned(), fixed;
    }
}

config! {
    /// Settings whose fixed keys change for the next start.
    Lenient with LENIENT {
        /// A word.
        word "word": String = "w".to_owned(), fixed;
    }
}
