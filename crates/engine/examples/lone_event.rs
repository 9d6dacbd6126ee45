//! How long a lone event takes through all steps of a warm pipeline, from the source handing it over to its row being written.
//!
//! usage: lone_event PROJECT PIPELINE EVENTS    (the project's variables come from the environment)
//!
//! One thread asks for the next event only when the one before is written, so the time between two requests is one trip.

use ouzel_core::{Chunk, Result, Source};
use ouzel_engine::runtime::run_recut;
use ouzel_engine::{Control, Options, project};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

struct OneByOne {
    source: Box<dyn Source>,
    ready: VecDeque<Chunk>,
    left: usize,
    handed_over: Option<Instant>,
    trips: Arc<Mutex<Vec<f64>>>,
}

impl Source for OneByOne {
    #[allow(clippy::disallowed_methods, reason = "this measures wall time")]
    fn next(&mut self) -> Result<Option<Chunk>> {
        if let Some(start) = self.handed_over.take() {
            self.trips.lock().expect("one thread").push(start.elapsed().as_secs_f64() * 1e6);
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        while self.ready.is_empty() {
            let Some(chunk) = self.source.next()? else { return Ok(None) };
            let mut start = 0;
            let ends = chunk.data.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1);
            for end in ends {
                let mut one = chunk.clone();
                one.data = chunk.data.slice_with_length(start, end - start);
                self.ready.push_back(one);
                start = end;
            }
        }
        self.handed_over = Some(Instant::now());
        Ok(self.ready.pop_front())
    }

    fn position(&self) -> Option<String> {
        if self.ready.is_empty() { self.source.position() } else { None }
    }

    fn resume(&mut self, position: &str) -> Result<()> {
        self.source.resume(position)
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, root, name, events] = args.as_slice() else {
        eprintln!("usage: lone_event PROJECT PIPELINE EVENTS");
        std::process::exit(2);
    };
    let (project, report) = project::load(Path::new(root), &|name| std::env::var(name).ok());
    let project = project.unwrap_or_else(|| panic!("{}", report.render(|_, w| w.to_string())));
    let pipeline = project.select(std::slice::from_ref(name)).expect("a pipeline of that name")[0];
    let trips = Arc::new(Mutex::new(Vec::new()));
    let left: usize = events.parse().expect("a number of events");
    let options = Options { threads: 1, fresh: true, ..Options::default() };
    run_recut(&pipeline.plan, &project.place(), &options, &Control::default(), &|source, _| {
        Box::new(OneByOne { source, ready: VecDeque::new(), left, handed_over: None, trips: trips.clone() })
    })
    .expect("runs");
    let mut trips = trips.lock().expect("done").split_off(left / 10);
    trips.sort_by(f64::total_cmp);
    let at = |q: f64| trips[((trips.len() - 1) as f64 * q) as usize];
    println!(
        "{} lone events, us: p50 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1}",
        trips.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}
