//! The arguments that name a runbook and the values for its parameters.

use std::path::PathBuf;

use clap::Args;

use crate::operate;

/// A runbook file and the values for its parameters.
#[derive(Debug, Args)]
pub struct Source {
    /// The runbook.
    file: PathBuf,
    /// The environment whose values are used.
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<String>,
    /// A parameter's value.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// A YAML file with parameters' values.
    #[arg(long, value_name = "FILE")]
    values: Vec<PathBuf>,
}

impl From<Source> for operate::Source {
    fn from(Source { file, env, set, values }: Source) -> operate::Source {
        operate::Source { file, environment: env, set, values }
    }
}
