//! Line charts as SVG: both axes logarithmic, one line for each series.

use std::fmt::Write as _;

/// A line: its name, and its points.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Colours that are told apart by most who cannot tell all (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// An axis: the powers of ten that it runs over.
struct Axis {
    first: i32,
    last: i32,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logarithms: Vec<f64> = values.filter(|value| *value > 0.0).map(f64::log10).collect();
        let least = logarithms.iter().copied().fold(f64::INFINITY, f64::min);
        let most = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let whole = |value: f64| format!("{value:.0}").parse().unwrap_or_default();
        let first: i32 = whole(least.floor());
        Self { first, last: whole(most.ceil()).max(first + 1), from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        self.from + share * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = (i32, f64)> {
        (self.first..=self.last).map(|power| (power, self.at(10_f64.powi(power))))
    }
}

/// The chart as an SVG document.
pub(crate) fn chart(title: &str, across: &str, up: &str, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|series| &series.points);
    let x = Axis::over(points().map(|(x, _)| *x), LEFT, WIDTH - RIGHT);
    let y = Axis::over(points().map(|(_, y)| *y), HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}</text>\n"
    );
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (power, at) in x.ticks() {
        let label = exponent(power);
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#dddddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            bottom + 18.0
        );
    }
    for (power, at) in y.ticks() {
        let label = exponent(power);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    for (number, (series, colour)) in (0_u32..).zip(series.iter().zip(COLOURS.iter().cycle())) {
        let line: Vec<String> = series
            .points
            .iter()
            .map(|(across, up)| format!("{:.1},{:.1}", x.at(*across), y.at(*up)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        let row = TOP + 16.0 * f64::from(number);
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"12\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            right + 12.0,
            row + 2.0,
            right + 30.0,
            row + 8.0,
            series.name
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{across}</text>\
         <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{up}</text>",
        f64::midpoint(LEFT, right),
        HEIGHT - 10.0,
        f64::midpoint(TOP, bottom)
    );
    svg.push_str("</svg>\n");
    svg
}

/// Ten to a power as it is read.
fn exponent(power: i32) -> String {
    match power {
        0 => "1".to_owned(),
        -3..=3 => 10_f64.powi(power).to_string(),
        _ => format!("10<tspan dy=\"-4\" font-size=\"9\">{power}</tspan>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_between_the_powers_of_ten_around_them() {
        let axis = Axis::over([20.0, 3_000.0].into_iter(), 0.0, 300.0);
        assert_eq!((axis.first, axis.last), (1, 4));
        for (value, place) in [(10.0, 0.0), (100.0, 100.0), (10_000.0, 300.0)] {
            assert!((axis.at(value) - place).abs() < 1e-9, "{value}");
        }
        let points = vec![(1e4, 0.01), (1e7, 12.0)];
        let series = [Series { name: "a".to_owned(), points }];
        let svg = chart("title", "chunks", "seconds", &series);
        // At the left below, and at the right, 1/12 of a power above the second tick from above.
        assert!(svg.contains("points=\"70.0,370.0 530.0,"), "{svg}");
        assert_eq!(svg.matches("<polyline").count(), 1);
    }
}
