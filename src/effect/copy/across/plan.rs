//! How a table of one database becomes another's: which columns, compared as what, and ordered how.
//! Knows no database.

use super::kind::{Class, is_ordered, kind};
use super::{Column, Kind, Shape};
use crate::effect::EffectError;

/// A table at both ends, its columns side by side.
#[derive(Debug, Clone)]
pub struct Plan {
    pub source: Shape,
    pub target: Shape,
}

/// What is there under a name.
#[derive(Debug)]
pub struct Found {
    /// Quoted.
    pub table: String,
    pub columns: Vec<Column>,
    /// The names of its key's columns.
    pub key: Vec<String>,
}

/// # Errors
/// If there is no way from the one to the other.
pub fn plan(
    source: (&str, Found, &str),
    target: (&str, Found, &str),
    are_both_mysql: bool,
) -> Result<Plan, EffectError> {
    let ((name, source, from), (into, target, to)) = (source, target);
    let refused = |words: String| Err(EffectError::before(words));
    if source.key.is_empty() {
        let words =
            "it is copied in ranges of one: give it one, or copy it with a command in a `run` step";
        return refused(format!("the table {name} of {from} has no primary key: {words}"));
    }
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for mut column in source.columns {
        let Some(mut other) =
            target.columns.iter().find(|other| other.name == column.name).cloned()
        else {
            return refused(format!("the table {into} of {to} has no column {}", column.name));
        };
        let words = || {
            format!(
                "the column {} of {name} is {} in {from}, and {} in {to}",
                column.name, column.declared, other.declared
            )
        };
        let Some(mut kind) = kind(column.class, other.class) else {
            let help = "one does not become the other without loss: give it another type, or copy \
                it with a command in a `run` step";
            return refused(format!("{}: {help}", words()));
        };
        if are_both_mysql
            && column.class == other.class
            && matches!(kind, Kind::Date | Kind::Time | Kind::Timestamp)
        {
            kind = Kind::Moment;
        }
        if source.key.contains(&column.name) {
            if !is_ordered(column.class, other.class) {
                return refused(format!(
                    "{}, which is part of its key: its ranges would not be the same",
                    words()
                ));
            }
            let is_the_same = are_both_mysql
                && column.declared == other.declared
                && column.collation == other.collation;
            for column in [&mut column, &mut other] {
                column.is_bytewise = column.collation.is_some()
                    && !is_the_same
                    && (kind == Kind::Text || column.class == Class::Uuid);
            }
        }
        (column.kind, other.kind) = (kind, kind);
        here.push(column);
        there.push(other);
    }
    let key: Vec<usize> = source
        .key
        .iter()
        .filter_map(|name| here.iter().position(|column| column.name == *name))
        .collect();
    Ok(Plan {
        source: Shape { table: source.table, columns: here, key: key.clone() },
        target: Shape { table: target.table, columns: there, key },
    })
}
