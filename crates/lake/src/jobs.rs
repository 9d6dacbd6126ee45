//! What batch jobs need of tables: [`history`] tells what has changed between two versions, and what jobs have committed; [`target`] replaces
//! partitions in one commit; [`landing`] lists the files that others put into a folder; [`keys`] knows which keys a table has, [`groups`] what an
//! aggregate has to remember of its groups; [`scratch`] holds rows on their way, [`numbered`] keeps the order in which they came; [`vacuum`] removes files that nobody needs.

pub mod groups;
pub mod history;
pub mod keys;
pub mod landing;
pub mod numbered;
mod pages;
pub mod scratch;
pub mod target;
pub mod vacuum;
