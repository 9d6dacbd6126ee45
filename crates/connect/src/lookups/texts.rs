//! A CSV file as it is: its header and its cells, for whoever reads a small one whole.

use super::csv::Lines;
use super::read_file;
use ouzel_core::{Error, Kind, Result};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// All of a CSV file, perhaps compressed. Cells are without blanks around them.
pub struct Texts {
    path: PathBuf,
    header: Vec<String>,
    rows: Vec<(usize, Vec<String>)>,
}

impl Texts {
    /// [`Kind::Data`]: a line has other cells than the header, or a quote is not closed.
    pub fn read(path: &Path) -> Result<Texts> {
        if !path.is_file() {
            return Err(Error::config(format!("there is no file `{}`", path.display())));
        }
        let text = read_file(&|_| path.to_path_buf(), "")?;
        let mut lines = Lines::new(&text, b',');
        let mut cells: Vec<Cow<'_, [u8]>> = Vec::new();
        let mut texts = Texts { path: path.to_path_buf(), header: Vec::new(), rows: Vec::new() };
        loop {
            let wrong = |line: usize, what: &str| Error::new(Kind::Data, format!("`{}`, line {line}: {what}", path.display()));
            match lines.read(&mut cells) {
                Err(what) => return Err(wrong(lines.line, what)),
                Ok(false) => break,
                Ok(true) => {}
            }
            let row: Vec<String> = cells.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_string()).collect();
            if texts.header.is_empty() {
                texts.header = row;
            } else if row.len() == texts.header.len() {
                texts.rows.push((lines.line, row));
            } else {
                return Err(wrong(lines.line, &format!("{} cells, and {} columns in the header", row.len(), texts.header.len())));
            }
        }
        if texts.rows.is_empty() {
            return Err(Error::new(Kind::Data, format!("`{}` holds no line behind its header", path.display())));
        }
        Ok(texts)
    }

    /// Which column has this name. [`Kind::Config`]: none.
    pub fn column(&self, name: &str) -> Result<usize> {
        self.header.iter().position(|column| column == name).ok_or_else(|| {
            Error::config(format!("`{}` has no column `{name}`: its columns are {}", self.path.display(), self.header.join(", ")))
        })
    }

    /// Lines in the file and their cells.
    pub fn rows(&self) -> impl Iterator<Item = (usize, &Vec<String>)> {
        self.rows.iter().map(|(line, row)| (*line, row))
    }
}
