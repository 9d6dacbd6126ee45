//! Curves as a picture.

use ouzel_detect::evaluation::Curve;
use std::fmt::Write;

const SIDE: f64 = 320.0;
const COLOURS: [&str; 2] = ["#1f6feb", "#8b949e"];

/// Receiver operating characteristic, and precision over recall, side by side.
pub fn svg(curves: &[(String, Curve)]) -> String {
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 440\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"800\" height=\"440\" fill=\"white\"/>\n",
    );
    frame(&mut out, 50.0, "false positive rate", "true positive rate");
    frame(&mut out, 450.0, "recall", "precision");
    let _ = writeln!(
        out,
        "<line x1=\"50\" y1=\"{0}\" x2=\"{1}\" y2=\"30\" stroke=\"#d0d7de\" stroke-dasharray=\"4\"/>",
        30.0 + SIDE,
        50.0 + SIDE
    );
    for ((name, curve), colour) in curves.iter().zip(COLOURS) {
        let roc = curve.points.iter().map(|p| (p.false_positives / curve.negatives, p.true_positives / curve.positives));
        line(&mut out, 50.0, std::iter::once((0.0, 0.0)).chain(roc), colour);
        let precision = curve
            .points
            .iter()
            .map(|p| (p.true_positives / curve.positives, p.true_positives / (p.true_positives + p.false_positives)));
        line(&mut out, 450.0, precision, colour);
        let row = curves.iter().position(|(n, _)| n == name).unwrap_or(0) as f64;
        let _ = writeln!(
            out,
            "<text x=\"50\" y=\"{}\" fill=\"{colour}\">{}: AUC {:.4}</text>",
            405.0 + 18.0 * row,
            escaped(name),
            curve.figures(&[]).auc
        );
    }
    out.push_str("</svg>\n");
    out
}

fn frame(out: &mut String, x: f64, across: &str, up: &str) {
    let _ = writeln!(out, "<rect x=\"{x}\" y=\"30\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" stroke=\"#57606a\"/>");
    for part in [0.0, 0.5, 1.0] {
        let (at, down) = (x + part * SIDE, 30.0 + (1.0 - part) * SIDE);
        let _ = writeln!(
            out,
            "<text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{part}</text><text x=\"{}\" y=\"{down}\" text-anchor=\"end\">{part}</text>",
            45.0 + SIDE,
            x - 5.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{across}</text><text x=\"{x}\" y=\"20\">{up}</text>",
        x + SIDE / 2.0,
        62.0 + SIDE
    );
}

fn line(out: &mut String, x: f64, points: impl Iterator<Item = (f64, f64)>, colour: &str) {
    let points: Vec<String> = points.map(|(a, b)| format!("{:.1},{:.1}", x + a * SIDE, 30.0 + (1.0 - b) * SIDE)).collect();
    let _ = writeln!(out, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", points.join(" "));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
