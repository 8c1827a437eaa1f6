//! Where a keeper and its commands live, so that whoever comes later knows of which processes their
//! numbers speak.

use std::io::Result;

use serde::{Deserialize, Serialize};

use crate::effect::process::{self, Process};

/// A keeper's session on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub site: Site,
    /// The session that the keeper leads, so also its own number.
    pub session: i32,
    /// When the keeper began, in ticks since the machine did.
    pub since: u64,
}

/// Within which a number means one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its name and, where it has one, its id.
    pub machine: String,
    /// Another one each time the machine begins.
    pub boot: String,
    /// The namespace of process numbers: that of a container, or the machine's.
    pub numbers: String,
}

/// The first process of a command. It leads a group of its own number, in the session of its
/// keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    pub pid: i32,
    /// In ticks since the machine began; nothing if it could not be seen, as it became another user
    /// at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<u64>,
}

impl Place {
    /// That of this process, which leads a session.
    ///
    /// # Errors
    /// If it cannot be seen.
    pub fn own() -> Result<Place> {
        let Process { session, begun, .. } = process::own()?;
        Ok(Place { site: Site::here()?, session, since: begun })
    }
}

impl Site {
    /// # Errors
    /// If it cannot be seen.
    pub fn here() -> Result<Site> {
        let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
        // Many containers have no id, and those that were made of one image may have the same.
        let id = read("/etc/machine-id").unwrap_or_default();
        let machine = format!("{} {id}", read("/proc/sys/kernel/hostname")?).trim().to_owned();
        let numbers = std::fs::read_link("/proc/self/ns/pid")?.display().to_string();
        Ok(Site { machine, boot: read("/proc/sys/kernel/random/boot_id")?, numbers })
    }
}
