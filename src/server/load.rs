//! Reads the settings file, and checks the files that it names.

#[cfg(feature = "cli")]
use super::alarm;
use super::machine;
#[cfg(feature = "cli")]
use crate::config::Warning;
use crate::config::{Config, ConfigErrors, ProgramSection};
#[cfg(feature = "cli")]
use crate::files;
use std::path::Path;

/// Reads a settings file as a server on this machine would start with it. Checks the admin token file too, if one is
/// set. Blocks while it reads.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    load_for(path, None)
}

/// Reads the settings file of a program; otherwise as [`load`].
///
/// # Errors
/// Everything that is wrong with the file.
pub(crate) fn load_for(path: &Path, program: Option<ProgramSection>) -> Result<Config, ConfigErrors> {
    Config::load_for(path, machine::cpus(), program).and_then(with_admin_token)
}

/// Checks the admin token file, if one is set. Blocks while it reads.
///
/// # Errors
/// The file cannot be used.
pub(super) fn with_admin_token(config: Config) -> Result<Config, ConfigErrors> {
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

/// Returns warnings if the log file cannot be written to, or the alarm command cannot be run. The server starts all the
/// same.
#[cfg(feature = "cli")]
pub(crate) fn warn_about_files(config: &Config) -> Vec<Warning> {
    let log_file = || {
        let path = config.log_file.value.as_deref()?;
        let error = files::could_append(path).err()?;
        let message = format!("Log_File={}: {error}: the log would go to standard error", path.display());
        Some(Warning { code: "log_file", message })
    };
    let alarm_command = || {
        let path = config.alarm_command.value.as_deref()?;
        let error = alarm::problem(path)?;
        let message = format!("Alarm_Command={}: {error}: no alarm would be given", path.display());
        Some(Warning { code: "alarm_command", message })
    };
    [log_file(), alarm_command()].into_iter().flatten().collect()
}
