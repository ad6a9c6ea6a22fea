//! The settings that the documentation has are those that there are.

#[path = "../../service/tests/support/table.rs"]
mod table;

use service::config::asked;

#[test]
fn the_documentation_has_every_setting_and_no_other() {
    let read = asked(&[], |env| _ = infer::Config::from_env(env));
    assert_eq!(read, table::variables(include_str!("../../../docs/services.md"), "### infer"));
}
