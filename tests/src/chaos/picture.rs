//! Pictures of a run, as SVG: what was acknowledged second by second, and how a measure is distributed.

use std::fmt::Write as _;

use super::report::Injected;

const WIDTH: f64 = 1_200.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 30.0;

/// Acknowledged operations second by second, over the faults.
pub(super) fn availability(per_second: &[u64], injected: &[Injected]) -> String {
    let most = per_second.iter().copied().max().unwrap_or(1).max(1) as f64;
    let scale = (WIDTH - LEFT) / per_second.len().max(1) as f64;
    let mut svg = begin("acknowledged operations per second; faults in grey");
    for fault in injected {
        let (x, width) = (LEFT + fault.at_s * scale, ((fault.end_s - fault.at_s) * scale).max(1.0));
        push(
            &mut svg,
            format_args!(
                "<rect x=\"{x:.1}\" y=\"20\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"#ccc\"><title>{:?} {} at {:.1} s</title></rect>",
                HEIGHT - BOTTOM - 20.0,
                fault.kind,
                fault.target,
                fault.at_s
            ),
        );
    }
    for (second, count) in per_second.iter().enumerate() {
        let height = (HEIGHT - BOTTOM - 20.0) * *count as f64 / most;
        push(
            &mut svg,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{height:.1}\" fill=\"#268\"/>",
                LEFT + second as f64 * scale,
                HEIGHT - BOTTOM - height,
                scale.max(0.5)
            ),
        );
    }
    end(svg, most, per_second.len() as f64)
}

/// Times in milliseconds, smallest first, each a bar; a line where `aim_ms` is.
pub(super) fn times(sorted_ms: &[f64], aim_ms: f64) -> String {
    let most = sorted_ms.last().copied().unwrap_or(1.0).max(aim_ms).max(1.0);
    let scale = (WIDTH - LEFT) / sorted_ms.len().max(1) as f64;
    let mut svg = begin("milliseconds without a leader, kill by kill, shortest first; the line is the aim");
    let height = |ms: f64| (HEIGHT - BOTTOM - 20.0) * ms / most;
    for (at, ms) in sorted_ms.iter().enumerate() {
        push(
            &mut svg,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{:.1}\" fill=\"#268\"/>",
                LEFT + at as f64 * scale,
                HEIGHT - BOTTOM - height(*ms),
                (scale - 1.0).max(0.5),
                height(*ms)
            ),
        );
    }
    let y = HEIGHT - BOTTOM - height(aim_ms);
    push(
        &mut svg,
        format_args!("<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#a22\"/>"),
    );
    end(svg, most, sorted_ms.len() as f64)
}

fn begin(title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<text x=\"{LEFT}\" y=\"14\">{title}</text>\n"
    )
}

fn push(svg: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(svg, "{line}");
}

/// The scales: `most` on the left, `last` on the right.
fn end(mut svg: String, most: f64, last: f64) -> String {
    push(&mut svg, format_args!("<text x=\"0\" y=\"30\">{most:.0}</text>"));
    push(&mut svg, format_args!("<text x=\"{LEFT}\" y=\"{:.0}\">0</text>", HEIGHT - 10.0));
    push(
        &mut svg,
        format_args!(
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{last:.0}</text>",
            WIDTH,
            HEIGHT - 10.0
        ),
    );
    svg + "</svg>\n"
}
