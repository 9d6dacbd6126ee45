//! What batch jobs need of tables: [`history`] tells what has changed between two versions, and what jobs have committed; [`target`] replaces
//! partitions in one commit.

pub mod history;
pub mod target;
