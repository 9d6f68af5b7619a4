//! Reads the settings file, and checks the files that it names.

use super::machine;
#[cfg(feature = "cli")]
use crate::config::Warning;
use crate::config::{Config, ConfigErrors};
#[cfg(feature = "cli")]
use crate::files;
use std::path::Path;

/// Reads a settings file as a server on this machine would start with it. Checks the admin token file too, if one is
/// set. Blocks while it reads.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let config = Config::load(path, machine::cpus())?;
    #[cfg(feature = "admin")]
    if let Some(file) = &config.admin_token_file.value
        && let Err(wrong) = crate::admin::Token::read(file)
    {
        let (setting, file) = (&config.admin_token_file, file.to_string_lossy());
        let wrong =
            (wrong.to_string(), "a file that its owner alone can read, with a token in its first line");
        return Err(ConfigErrors::of_setting(&config, ("Admin_Token_File", &file), &setting.source, wrong));
    }
    Ok(config)
}

/// Returns a warning if the log file cannot be written to. The server starts all the same.
#[cfg(feature = "cli")]
pub(crate) fn warn_about_files(config: &Config) -> Option<Warning> {
    let path = config.log_file.value.as_deref()?;
    let error = files::could_append(path).err()?;
    let message = format!("Log_File={}: {error}: the log would go to standard error", path.display());
    Some(Warning { code: "log_file", message })
}
