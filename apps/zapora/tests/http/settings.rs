//! The settings that the documentation has are those that there are.

use std::collections::BTreeSet;

use service::config::asked;
use zapora::{
    settings::{self, HttpSettings, JobSettings},
    store::Dialect,
};

#[path = "../../../service/tests/support/table.rs"]
mod table;

#[test]
fn the_documentation_has_every_setting_and_no_other() {
    let mut all = BTreeSet::new();
    // With a bucket other settings count than with a folder.
    for given in [&[][..], &[("IMAGES_S3_BUCKET", "pictures"), ("PAYMENT_URL", "http://pay")]] {
        all.extend(asked(given, |env| {
            settings::database(env);
            settings::redis(env);
            JobSettings::read(env);
            HttpSettings::read(env, Dialect::Sqlite);
        }));
    }
    assert_eq!(all, table::variables(include_str!("../../README.md"), "## Settings"));
}
