//! What the executor and its keeper say to each other: a line of JSON for each thing. They never
//! travel farther than between two processes of the same program.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the executor asks for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    Begin(Box<Begin>),
    /// End it: TERM for its whole group, or KILL.
    End {
        id: u64,
        force: bool,
    },
    /// Stop all that runs where it is, or let it go on.
    Pause(bool),
}

/// A command to be begun.
#[derive(Debug, Serialize, Deserialize)]
pub struct Begin {
    /// Chosen by the executor, for the answer.
    pub id: u64,
    /// The program and its arguments.
    pub command: Vec<String>,
    pub folder: Option<String>,
    pub input: Option<PathBuf>,
    /// Besides what the keeper itself was given.
    pub env: Vec<(String, String)>,
    /// Variables that are to name files in memory, with what is in these.
    pub files: Vec<(String, String)>,
    /// All that is to be masked so far, by name; nothing if the run declares no secret.
    pub secrets: Option<Vec<(String, String)>>,
    pub out: PathBuf,
    pub err: PathBuf,
    /// Files that it may write about itself, to be masked when it is over.
    pub said: Vec<PathBuf>,
    /// Under which its beginning and its end are recorded; nothing for what only looks.
    pub attempt: Option<Attempt>,
}

/// An attempt, by the idempotency key of its step and direction, and its number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    pub key: String,
    pub number: u32,
}

/// What the keeper answers when a command is over.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    pub id: u64,
    pub over: Over,
}

/// All that is known of the end of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    pub exit: Exit,
    /// Why not all of its output could be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<String>,
}

impl From<Exit> for Over {
    fn from(exit: Exit) -> Over {
        Over { exit, unwritten: None }
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It never was begun, and changed nothing.
    NotBegun(String),
    /// Nobody knows.
    Unknown(String),
}
