//! The settings that the documentation has are those that there are.

#[path = "../../service/tests/support/table.rs"]
mod table;

use sample::Config;
use service::config::{Env, asked};

#[test]
fn the_documentation_has_every_setting_and_no_other() {
    let read = asked(&[], |env| _ = Config::from_env(env));
    assert_eq!(read, table::variables(include_str!("../../../docs/services.md"), "### sample"));
}

#[test]
fn an_admin_who_could_not_log_in_is_refused() {
    for (name, password, wrong) in
        [("admin", "a long password", 0), ("Admin", "a long password", 1), ("root@example.com", "short", 2)]
    {
        let set = [("ADMIN_USERNAME", name), ("ADMIN_PASSWORD", password)];
        let mut env = Env::new(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
        let told = Config::from_env(&mut env).err().map_or(0, |told| told.problems().len());
        assert_eq!(told, wrong, "{name}");
    }
}
