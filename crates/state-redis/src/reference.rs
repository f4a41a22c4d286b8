//! The table of settings, from their source.

use crate::config::RedisConfig;
use crate::settings;

impl RedisConfig {
    /// The settings that files and the environment may set, with their defaults, as a table in Markdown.
    pub fn reference() -> String {
        let defaults = Self::default();
        let mut table = String::from("| setting | default | what it sets |\n|---|---|---|\n");
        for setting in settings::all() {
            let default = match (setting.show)(&defaults) {
                text if text.is_empty() => String::new(),
                text => format!("`{text}`"),
            };
            table.push_str(&format!("| `{}` | {default} | {} |\n", setting.name, setting.about));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Draft, Given};

    #[test]
    #[cfg(all(
        feature = "tls",
        feature = "encrypt",
        feature = "resilience",
        feature = "metrics",
        feature = "locks"
    ))]
    fn the_readme_has_the_table_of_settings_with_their_defaults() {
        let table = RedisConfig::reference();
        assert!(include_str!("../README.md").contains(&table), "README.md has to hold this table:\n{table}");
    }

    #[test]
    fn a_default_that_is_given_changes_nothing() {
        let defaults = RedisConfig::default();
        for setting in settings::all() {
            let shown = (setting.show)(&defaults);
            if shown.is_empty() {
                continue;
            }
            let mut draft = Draft::over(RedisConfig::default());
            draft.set(setting.name, &Given::One(shown.clone())).expect(setting.name);
            let config = draft.finish().expect(setting.name);
            assert_eq!((setting.show)(&config), shown, "{}", setting.name);
            assert_eq!(format!("{config:?}"), format!("{defaults:?}"), "{}", setting.name);
        }
    }
}
