//! The store: one SQLite database for the facts of all runs. Knows rows: neither what they mean,
//! nor whether they are whole and in a legal order.

mod connection;
mod copy;
mod failure;
mod rows;
mod schema;

pub use connection::Database;
