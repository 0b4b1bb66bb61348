//! The plots, as SVG. Colours are drawn as placeholders and replaced at the end: by CSS variables
//! for the report, which follows the reader's light or dark theme, and by fixed colours for files.

use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::model::{Fit, Observation};
use crate::report::Cell;

/// Small, so that the text stays readable when two plots stand side by side.
const SIZE: (u32, u32) = (580, 360);
const TEXT: i32 = 15;

/// Placeholder, CSS variable, colour on white. The series colours keep apart for readers with
/// any common colour blindness, and each series also has its own mark.
const PALETTE: &[(RGBColor, &str, &str)] = &[
    (RGBColor(1, 0, 1), "--ink", "#1c2330"),
    (RGBColor(1, 0, 2), "--muted", "#667085"),
    (RGBColor(1, 0, 3), "--rule", "#dfe3ea"),
    (RGBColor(1, 0, 4), "--paper", "#ffffff"),
    (RGBColor(2, 0, 1), "--s1", "#0b62b8"),
    (RGBColor(2, 0, 2), "--s2", "#c8540a"),
    (RGBColor(2, 0, 3), "--s3", "#0a7f5f"),
    (RGBColor(2, 0, 4), "--s4", "#b0307a"),
    (RGBColor(2, 0, 5), "--s5", "#6a4bc4"),
    (RGBColor(2, 0, 6), "--s6", "#7b6a00"),
];

const INK: RGBColor = PALETTE[0].0;
const MUTED: RGBColor = PALETTE[1].0;
const RULE: RGBColor = PALETTE[2].0;
const PAPER: RGBColor = PALETTE[3].0;

fn series_colour(index: usize) -> RGBColor {
    PALETTE[4 + index % (PALETTE.len() - 4)].0
}

fn hex(colour: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2)
}

/// The drawing for a page that defines the variables.
pub fn for_page(svg: &str) -> String {
    PALETTE
        .iter()
        .fold(svg.to_owned(), |svg, (placeholder, variable, _)| {
            svg.replace(&hex(*placeholder), &format!("var({variable})"))
        })
}

/// The drawing for a file of its own.
pub fn for_file(svg: &str) -> String {
    PALETTE
        .iter()
        .fold(svg.to_owned(), |svg, (placeholder, _, colour)| {
            svg.replace(&hex(*placeholder), colour)
        })
}

/// A drawing that failed is a defect of the harness; the reason takes the drawing's place.
fn drawn(result: Result<(), Box<dyn std::error::Error>>, svg: String) -> String {
    match result {
        Ok(()) => svg,
        Err(error) => {
            format!("<svg viewBox='0 0 600 40'><text y='20'>no plot: {error}</text></svg>")
        }
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Outcome = Result<(), Box<dyn std::error::Error>>;

fn text(size: i32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour)
}

/// Room above the largest value, so that nothing touches the frame.
fn headroom(values: impl Iterator<Item = f64>) -> f64 {
    1.12 * values
        .filter(|v| v.is_finite())
        .fold(f64::MIN_POSITIVE, f64::max)
}

/// What stands along an axis.
struct Axis<'a> {
    name: &'a str,
    label: &'a dyn Fn(&f64) -> String,
    labels: usize,
}

fn mesh<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    x: &Axis<'_>,
    y: &Axis<'_>,
) -> Outcome
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RULE)
        .axis_style(MUTED)
        .x_desc(x.name)
        .x_label_formatter(x.label)
        .x_labels(x.labels)
        .y_desc(y.name)
        .y_label_formatter(y.label)
        .y_labels(y.labels)
        .label_style(text(TEXT - 1, MUTED))
        .axis_desc_style(text(TEXT, INK))
        .draw()?;
    Ok(())
}

fn legend<'a, X: Ranged, Y: Ranged>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    position: SeriesLabelPosition,
) -> Outcome {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(PAPER.filled())
        .border_style(RULE)
        .label_font(text(TEXT - 1, INK))
        .margin(8)
        .draw()?;
    Ok(())
}

/// A label for whole numbers only.
fn whole(x: &f64) -> String {
    if x.fract().abs() < 1e-6 && *x > 0.0 {
        format!("{x:.0}")
    } else {
        String::new()
    }
}

/// Distinct values of a key, ascending.
fn distinct<T: Ord + Copy>(cells: &[Cell], key: impl Fn(&Cell) -> T) -> Vec<T> {
    let set: std::collections::BTreeSet<T> = cells.iter().map(key).collect();
    set.into_iter().collect()
}

/// Throughput against the number of shards, one series for each interval, with the fit.
pub fn throughput(cells: &[Cell], fit: Option<&Fit>, pace: f64) -> String {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let result = draw_throughput(&root, cells, fit, pace);
    drop(root);
    drawn(result, svg)
}

fn draw_throughput(root: &Area<'_>, cells: &[Cell], fit: Option<&Fit>, pace: f64) -> Outcome {
    let last = cells
        .iter()
        .map(|cell| cell.point.shards)
        .max()
        .unwrap_or(1);
    let top = headroom(
        cells
            .iter()
            .filter_map(|cell| cell.throughput.high.or(Some(cell.throughput.value)))
            .chain([pace * f64::from(last)]),
    );
    let right = f64::from(last) + 0.05 * f64::from(last).max(8.0);
    let mut chart = ChartBuilder::on(root)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    mesh(
        &mut chart,
        &Axis {
            name: "shards",
            label: &whole,
            labels: usize::from(last.min(16)) + 1,
        },
        &Axis {
            name: "committed transactions per second",
            label: &|y| format!("{y:.0}"),
            labels: 6,
        },
    )?;
    let steps: Vec<f64> = (0..=60)
        .map(|i| 1.0 + (f64::from(last) - 1.0) * f64::from(i) / 60.0)
        .collect();
    chart
        .draw_series(DashedLineSeries::new(
            steps.iter().map(|s| (*s, s * pace)),
            4,
            4,
            MUTED.stroke_width(1),
        ))?
        .label("no barrier: S × pace")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], MUTED));
    let intervals = distinct(cells, |cell| cell.point.interval_ms);
    let across = intervals.len() as f64;
    for (index, interval_ms) in intervals.into_iter().enumerate() {
        let colour = series_colour(index);
        let of: Vec<_> = cells
            .iter()
            .filter(|cell| cell.point.interval_ms == interval_ms)
            .collect();
        if let Some(fit) = fit {
            let window = of.iter().map(|cell| cell.window_seconds).sum::<f64>() / of.len() as f64;
            let curve = steps.iter().map(|s| {
                // Between whole numbers of shards the barrier is interpolated.
                let (low, high) = (s.floor() as u16, s.ceil() as u16);
                let part = s - s.floor();
                let barrier = fit.barrier(low) * (1.0 - part) + fit.barrier(high) * part;
                (*s, s * fit.mu * window / (window + barrier))
            });
            chart.draw_series(LineSeries::new(curve, colour.stroke_width(2)))?;
        }
        // Series at one S are set a little apart, so that their bars can be told from each other.
        let shift = (0.02 * right).min(0.08) * (index as f64 - (across - 1.0) / 2.0);
        for cell in &of {
            let x = f64::from(cell.point.shards) + shift;
            let t = cell.throughput;
            if let (Some(low), Some(high)) = (t.low, t.high) {
                let bar = vec![(x, low.max(0.0)), (x, high)];
                chart.draw_series([PathElement::new(bar, colour.stroke_width(1))])?;
                let caps = [low.max(0.0), high].map(|y| {
                    let cap = vec![(x - 0.008 * right, y), (x + 0.008 * right, y)];
                    PathElement::new(cap, colour.stroke_width(1))
                });
                chart.draw_series(caps)?;
            }
            if cell.valid_runs > 0 {
                chart.draw_series([Circle::new((x, t.value), 4, colour.filled())])?;
            } else {
                chart.draw_series([Cross::new((x, t.value), 5, colour.stroke_width(2))])?;
            }
        }
        chart
            .draw_series(std::iter::empty::<Circle<(f64, f64), i32>>())?
            .label(format!("barrier every {}", milliseconds(interval_ms)))
            .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
    root.present()?;
    Ok(())
}

fn milliseconds(ms: u64) -> String {
    if ms >= 1000 && ms.is_multiple_of(100) {
        format!("{:.1} s", ms as f64 / 1e3)
    } else {
        format!("{ms} ms")
    }
}

/// The share of time lost to the barrier against the interval, timed and counted.
pub fn stall(cells: &[Cell], fit: Option<&Fit>) -> String {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let result = draw_stall(&root, cells, fit);
    drop(root);
    drawn(result, svg)
}

fn draw_stall(root: &Area<'_>, cells: &[Cell], fit: Option<&Fit>) -> Outcome {
    let longest = cells
        .iter()
        .map(|cell| cell.point.interval_ms)
        .max()
        .unwrap_or(1) as f64;
    let shortest = cells
        .iter()
        .map(|cell| cell.point.interval_ms)
        .min()
        .unwrap_or(1) as f64;
    let lost = |efficiency: f64| 100.0 * (1.0 - efficiency);
    let both = |cell: &Cell| [lost(cell.efficiency_timed), lost(cell.efficiency_counted)];
    // Room for the legend, which a single interval would otherwise lie under.
    let top = 1.25 * headroom(cells.iter().flat_map(both).chain([5.0]));
    let bottom = cells.iter().flat_map(both).fold(0.0, f64::min) * 1.12;
    let mut chart = ChartBuilder::on(root)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..longest * 1.1, bottom..top)?;
    mesh(
        &mut chart,
        &Axis {
            name: "interval between barriers, ms",
            label: &|x| format!("{x:.0}"),
            labels: 8,
        },
        &Axis {
            name: "time lost to the barrier, %",
            label: &|y| format!("{y:.0}"),
            labels: 6,
        },
    )?;
    for (index, shards) in distinct(cells, |cell| cell.point.shards)
        .into_iter()
        .enumerate()
    {
        let colour = series_colour(index);
        if let Some(fit) = fit {
            let from = shortest * 0.7;
            let curve = (0..=60).map(|i| {
                let x = from + (longest * 1.1 - from) * f64::from(i) / 60.0;
                let barrier = fit.barrier(shards);
                (x, 100.0 * barrier / (x / 1e3 + barrier))
            });
            chart.draw_series(LineSeries::new(
                curve.filter(|(_, y)| *y <= top && *y >= bottom),
                colour.stroke_width(1),
            ))?;
        }
        let of = || cells.iter().filter(|cell| cell.point.shards == shards);
        let plural = if shards == 1 { "" } else { "s" };
        chart
            .draw_series(of().map(|cell| {
                let at = (cell.point.interval_ms as f64, lost(cell.efficiency_timed));
                Circle::new(at, 4, colour.filled())
            }))?
            .label(format!("{shards} shard{plural}"))
            .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
        chart.draw_series(of().map(|cell| {
            let at = (cell.point.interval_ms as f64, lost(cell.efficiency_counted));
            Circle::new(at, 7, colour.stroke_width(1))
        }))?;
    }
    legend(&mut chart, SeriesLabelPosition::UpperRight)?;
    root.present()?;
    Ok(())
}

/// The mean phases of a barrier, stacked, one bar for each cell.
pub fn phases(cells: &[Cell]) -> String {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let result = draw_phases(&root, cells);
    drop(root);
    drawn(result, svg)
}

fn draw_phases(root: &Area<'_>, cells: &[Cell]) -> Outcome {
    let parts = |cell: &Cell| {
        let p = cell.phases;
        [p.wait, p.collect, p.order, p.distribute].map(|seconds| seconds * 1e3)
    };
    // Room for the legend above the bars.
    let top = 1.4
        * headroom(
            cells
                .iter()
                .map(|cell| parts(cell).iter().sum())
                .chain([1.0]),
        );
    let count = cells.len();
    let mut chart = ChartBuilder::on(root)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..count as f64, 0.0..top)?;
    let name = |index: usize| {
        let point = cells[index].point;
        format!("{}×{}", point.shards, point.interval_ms)
    };
    let blank = |_: &f64| String::new();
    mesh(
        &mut chart,
        &Axis {
            name: "shards × interval in ms",
            label: &blank,
            labels: 1,
        },
        &Axis {
            name: "mean stall of a barrier, ms",
            label: &|y| format!("{y:.0}"),
            labels: 6,
        },
    )?;
    let label_every = count.div_ceil(6).max(1);
    for index in (0..count).step_by(label_every) {
        let (x, y) = chart.backend_coord(&(index as f64 + 0.5, 0.0));
        let style = text(TEXT - 2, MUTED).pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        root.draw(&Text::new(name(index), (x, y + 6), style))?;
    }
    let names = [
        "wait for the slowest shard",
        "collect",
        "order",
        "distribute",
    ];
    for (phase, phase_name) in names.into_iter().enumerate() {
        let colour = series_colour(phase);
        let bars = cells.iter().enumerate().map(|(index, cell)| {
            let values = parts(cell);
            let below: f64 = values[..phase].iter().sum();
            let x = index as f64;
            Rectangle::new(
                [(x + 0.18, below), (x + 0.82, below + values[phase])],
                colour.filled(),
            )
        });
        chart
            .draw_series(bars)?
            .label(phase_name)
            .legend(move |(x, y)| {
                Rectangle::new([(x + 2, y - 6), (x + 14, y + 6)], colour.filled())
            });
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
    root.present()?;
    Ok(())
}

/// How far each run lies from the fit, in the order of its prediction: a pattern here means that
/// the model lacks something.
pub fn residuals(observations: &[Observation], fit: &Fit) -> String {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let result = draw_residuals(&root, observations, fit);
    drop(root);
    drawn(result, svg)
}

fn draw_residuals(root: &Area<'_>, observations: &[Observation], fit: &Fit) -> Outcome {
    let points: Vec<(f64, f64)> = observations
        .iter()
        .map(|o| {
            let predicted = fit.throughput(o.shards, o.window_seconds);
            (predicted, 100.0 * (o.throughput / predicted - 1.0))
        })
        .collect();
    let right = headroom(points.iter().map(|(x, _)| *x));
    let reach = headroom(points.iter().map(|(_, y)| y.abs()).chain([2.0]));
    let mut chart = ChartBuilder::on(root)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, -reach..reach)?;
    mesh(
        &mut chart,
        &Axis {
            name: "fitted transactions per second",
            label: &|x| format!("{x:.0}"),
            labels: 8,
        },
        &Axis {
            name: "measured minus fitted, %",
            label: &|y| format!("{y:.1}"),
            labels: 6,
        },
    )?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (right, 0.0)], MUTED))?;
    chart.draw_series(
        points
            .iter()
            .map(|at| Circle::new(*at, 4, series_colour(0).filled())),
    )?;
    root.present()?;
    Ok(())
}
