//! A chart as data, and its drawing: title, legend, quantity, plot, ticks, from top to bottom.
//!
//! plotters draws on whole pixels and cannot measure text, so the picture is drawn four times as
//! large and shown at its size, and text widths are estimated on the safe side.

use plotters::coord::Shift;
use plotters::element::{Circle, DashedPathElement, EmptyElement, PathElement, Polygon, Text};
use plotters::prelude::{
    Color, DrawingArea, FontDesc, FontFamily, FontStyle, IntoDrawingArea, RGBColor, SVGBackend,
    ShapeStyle,
};
use plotters::style::TextStyle;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;

const MARGIN: f64 = 20.0;
/// Drawn pixels for one that is shown.
const SCALE: f64 = 4.0;
const FONTS: &str = "Inter, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif";
const TITLE: f64 = 16.0;
/// So many times as wide are bold letters, in the widest of the usual fonts.
const BOLD: f64 = 1.15;
const TEXT: f64 = 12.0;
const LEGEND_ROW: f64 = 20.0;
const SWATCH: f64 = 26.0;
/// The radius of a marked point.
const DOT: f64 = 4.5;

const WHITE: Colour = Colour(255, 255, 255);
const INK: Colour = Colour(34, 34, 34);
const SOFT_INK: Colour = Colour(95, 95, 95);
const GRID: Colour = Colour(232, 232, 232);
const GROUP_GRID: Colour = Colour(205, 205, 205);
const FRAME: Colour = Colour(150, 150, 150);

/// How large a picture is shown, in pixels. Text has one size in all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size {
    width: f64,
    /// With a legend of one row; each further row adds its own height.
    height: f64,
}

impl Size {
    /// Stands beside others or in a folder's preview, where it is shown smaller yet.
    pub(super) const SMALL: Self = Self {
        width: 520.0,
        height: 330.0,
    };
}

impl Default for Size {
    fn default() -> Self {
        Self {
            width: 860.0,
            height: 420.0,
        }
    }
}

/// Red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour(pub(super) u8, pub(super) u8, pub(super) u8);

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stroke {
    colour: Colour,
    width: f64,
    dash: Option<(f64, f64)>,
}

/// Points joined in their order; one that cannot be drawn is a gap.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) stroke: Stroke,
}

/// The area between two values at each place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Band {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64, f64)>,
    pub(super) colour: Colour,
}

/// A vertical line with words.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) at: f64,
    pub(super) label: String,
}

/// A point that the legend names: words beside it would cover the lines that lead to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dot {
    pub(super) at: (f64, f64),
    pub(super) label: String,
    pub(super) colour: Colour,
}

/// All that a picture shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Chart {
    pub(super) size: Size,
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) bands: Vec<Band>,
    pub(super) lines: Vec<Line>,
    pub(super) rule: Option<Rule>,
    pub(super) dot: Option<Dot>,
}

/// Whether a number can stand in a picture: not a gap, and not too large for arithmetic on it.
pub(super) fn drawable(value: f64) -> bool {
    value.abs() < 1e100
}

impl Stroke {
    pub(super) fn solid(colour: Colour, width: f64) -> Self {
        Self {
            colour,
            width,
            dash: None,
        }
    }

    pub(super) fn dashed(colour: Colour, width: f64, dash: f64, gap: f64) -> Self {
        Self {
            colour,
            width,
            dash: Some((dash, gap)),
        }
    }
}

impl Chart {
    /// Draws it.
    pub(super) fn to_svg(&self) -> String {
        let mut svg = String::new();
        let legend = self.legend();
        let plot = self.plot_area(&legend);
        {
            let size = drawn((plot.width, plot.height));
            let size = (size.0 as u32, size.1 as u32);
            let canvas = Canvas(SVGBackend::with_string(&mut svg, size).into_drawing_area());
            canvas.rectangle((0.0, 0.0), (plot.width, plot.height), WHITE, 1.0);
            let title = fit_ends(&self.title, TITLE, (plot.width - 2.0 * MARGIN) / BOLD);
            canvas.text(&title, (MARGIN, 24.0), Face::TITLE, f64::INFINITY);
            draw_legend(&canvas, &plot, &legend);
            self.draw_y_axis(&canvas, &plot);
            self.draw_x_axis(&canvas, &plot);
            self.draw_rule(&canvas, &plot);
            self.draw_data(&canvas, &plot);
        }
        with_header(&svg, &self.title, plot.width, plot.height)
    }

    /// What the legend names, with the place of each.
    fn legend(&self) -> Vec<Entry> {
        let bands = self.bands.iter().filter(|band| !band.points.is_empty());
        let bands = bands.map(|band| (band.name.clone(), Swatch::Band(band.colour)));
        let lines = self.lines.iter().filter(|line| !line.points.is_empty());
        let lines = lines.map(|line| (line.name.clone(), Swatch::Line(line.stroke)));
        let mut at = (MARGIN, 50.0);
        let mut entries = Vec::new();
        let dot = self.dot.iter();
        let dot = dot.map(|dot| (dot.label.clone(), Swatch::Dot(dot.colour)));
        for (name, swatch) in lines.chain(bands).chain(dot) {
            let name = fit(&name, TEXT, self.size.width / 2.0);
            let width = SWATCH + 6.0 + text_width(&name, TEXT) + 16.0;
            if at.0 > MARGIN && at.0 + width > self.size.width - MARGIN {
                at = (MARGIN, at.1 + LEGEND_ROW);
            }
            entries.push(Entry { name, swatch, at });
            at.0 += width;
        }
        entries
    }

    fn plot_area(&self, legend: &[Entry]) -> Area {
        let legend_end = legend
            .last()
            .map_or(36.0, |entry| entry.at.1 + LEGEND_ROW / 2.0);
        let labels = self
            .y
            .ticks
            .iter()
            .map(|tick| text_width(&tick.label, TEXT));
        let grouped = self.x.ticks.iter().any(|tick| tick.group.is_some());
        let height = self.size.height + (legend_end - 60.0).max(0.0);
        Area {
            left: MARGIN + labels.fold(0.0, f64::max) + 8.0,
            right: self.size.width - MARGIN - 12.0,
            top: legend_end + 34.0,
            bottom: height - if grouped { 62.0 } else { 46.0 },
            width: self.size.width,
            height,
            x: (self.x.low, self.x.high),
            y: (self.y.low, self.y.high),
        }
    }

    fn draw_y_axis(&self, canvas: &Canvas<'_>, plot: &Area) {
        for tick in &self.y.ticks {
            let y = plot.y_at(tick.at);
            canvas.line(&[(plot.left, y), (plot.right, y)], Stroke::solid(GRID, 1.0));
            canvas.text(
                &tick.label,
                (plot.left - 8.0, y),
                Face::TICK.right(),
                plot.width,
            );
        }
        canvas.text(
            &self.y.label,
            (MARGIN, plot.top - 19.0),
            Face::TICK,
            plot.width / 2.0,
        );
    }

    fn draw_x_axis(&self, canvas: &Canvas<'_>, plot: &Area) {
        let groups = groups_with_room(&self.x, plot);
        for tick in &self.x.ticks {
            let x = plot.x_at(tick.at);
            let colour = if tick.begins { GROUP_GRID } else { GRID };
            canvas.line(
                &[(x, plot.top), (x, plot.bottom + 4.0)],
                Stroke::solid(colour, 1.0),
            );
            canvas.text(
                &tick.label,
                (x, plot.bottom + 14.0),
                Face::TICK.centred(),
                plot.width,
            );
        }
        for (x, group) in &groups {
            canvas.text(
                group,
                (*x, plot.bottom + 31.0),
                Face::GROUP.centred(),
                plot.width,
            );
        }
        let (left, right) = ((plot.left, plot.bottom), (plot.right, plot.bottom));
        canvas.line(&[left, right], Stroke::solid(FRAME, 1.25));
        let middle = f64::midpoint(plot.left, plot.right);
        canvas.text(
            &self.x.label,
            (middle, plot.height - 13.0),
            Face::TICK.centred(),
            plot.width,
        );
    }

    fn draw_rule(&self, canvas: &Canvas<'_>, plot: &Area) {
        let Some(rule) = &self.rule else { return };
        let x = plot.x_at(rule.at);
        canvas.line(
            &[(x, plot.top - 9.0), (x, plot.bottom)],
            Stroke::dashed(SOFT_INK, 1.25, 3.0, 3.0),
        );
        let half = text_width(&rule.label, TEXT) / 2.0;
        let middle = x.clamp(MARGIN + half, plot.width - MARGIN - half);
        canvas.text(
            &rule.label,
            (middle, plot.top - 19.0),
            Face::TICK.centred(),
            plot.width,
        );
    }

    fn draw_data(&self, canvas: &Canvas<'_>, plot: &Area) {
        let mut anything = false;
        for band in &self.bands {
            anything |= draw_band(canvas, plot, band);
        }
        // The first line is the one that matters: it lies on top.
        for line in self.lines.iter().rev() {
            anything |= draw_line(canvas, plot, line);
        }
        if !anything {
            let middle = (
                f64::midpoint(plot.left, plot.right),
                f64::midpoint(plot.top, plot.bottom),
            );
            canvas.note("no values to show", middle);
        }
        if let Some(dot) = &self.dot
            && anything
        {
            draw_dot(canvas, plot, dot);
        }
    }
}

/// Names of groups that do not run into each other. The first one gives way: the next is whole.
fn groups_with_room(axis: &Axis, plot: &Area) -> Vec<(f64, String)> {
    let mut placed: Vec<(f64, String)> = Vec::new();
    let mut limit = plot.width - 4.0;
    for tick in axis.ticks.iter().rev() {
        let Some(group) = &tick.group else { continue };
        let half = text_width(group, TEXT) / 2.0 + 4.0;
        let x = plot.x_at(tick.at).clamp(half + 4.0, plot.width - half);
        if x + half <= limit + 0.5 {
            limit = x - half;
            placed.push((x, group.clone()));
        }
    }
    placed
}

fn draw_band(canvas: &Canvas<'_>, plot: &Area, band: &Band) -> bool {
    let runs = runs(&band.points, |(_, low, high)| {
        drawable(*low) && drawable(*high)
    });
    let mut any = false;
    for run in runs {
        any = true;
        let upper = run.iter().map(|&(x, _, high)| plot.place((x, high)));
        let lower = run.iter().rev().map(|&(x, low, _)| plot.place((x, low)));
        let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
        if run.len() == 1 {
            draw_bar(canvas, &outline, band.colour);
        } else {
            canvas.polygon(&outline, band.colour, 0.18);
        }
    }
    any
}

/// The band of a single place: a line from its upper to its lower end, with a mark at either.
fn draw_bar(canvas: &Canvas<'_>, ends: &[(f64, f64)], colour: Colour) {
    const HALF: f64 = 5.0;
    let stroke = Stroke::solid(colour, 1.75);
    canvas.line(ends, stroke);
    for (x, y) in ends {
        canvas.line(&[(x - HALF, *y), (x + HALF, *y)], stroke);
    }
}

fn draw_line(canvas: &Canvas<'_>, plot: &Area, line: &Line) -> bool {
    let mut any = false;
    for run in runs(&line.points, |(_, value)| drawable(*value)) {
        any = true;
        let path: Vec<(f64, f64)> = run.iter().map(|&point| plot.place(point)).collect();
        match path[..] {
            // A value between two gaps has no line to either side.
            [only] => canvas.dot(only, line.stroke.width + 0.5, line.stroke.colour),
            _ => canvas.line(&path, line.stroke),
        }
    }
    any
}

fn draw_dot(canvas: &Canvas<'_>, plot: &Area, dot: &Dot) {
    let place = plot.place(dot.at);
    canvas.dot(place, DOT + 1.5, WHITE);
    canvas.dot(place, DOT, dot.colour);
}

fn draw_legend(canvas: &Canvas<'_>, plot: &Area, legend: &[Entry]) {
    for Entry { name, swatch, at } in legend {
        let (x, y) = *at;
        match *swatch {
            Swatch::Line(stroke) => canvas.line(&[(x, y), (x + SWATCH, y)], stroke),
            Swatch::Dot(colour) => canvas.dot((x + SWATCH / 2.0, y), DOT, colour),
            Swatch::Band(colour) => {
                canvas.rectangle((x, y - 6.0), (x + SWATCH, y + 6.0), colour, 0.18);
            }
        }
        canvas.text(name, (x + SWATCH + 6.0, y), Face::LEGEND, plot.width / 2.0);
    }
}

/// One name in a legend.
struct Entry {
    name: String,
    swatch: Swatch,
    at: (f64, f64),
}

enum Swatch {
    Line(Stroke),
    Band(Colour),
    Dot(Colour),
}

/// Where the data are drawn, and what they span.
struct Area {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Of the whole picture.
    width: f64,
    height: f64,
    x: (f64, f64),
    y: (f64, f64),
}

impl Area {
    fn x_at(&self, x: f64) -> f64 {
        let share = (x - self.x.0) / (self.x.1 - self.x.0);
        self.left + share.clamp(0.0, 1.0) * (self.right - self.left)
    }

    fn y_at(&self, y: f64) -> f64 {
        let share = (y - self.y.0) / (self.y.1 - self.y.0);
        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.x_at(x), self.y_at(y))
    }
}

/// The longest stretches that pass.
fn runs<T>(points: &[T], passes: impl Fn(&T) -> bool) -> impl Iterator<Item = &[T]> {
    let runs = points.split(move |point| !passes(point));
    runs.filter(|run| !run.is_empty())
}

/// How text looks and where it lies about its place.
#[derive(Clone, Copy)]
struct Face {
    size: f64,
    style: FontStyle,
    colour: Colour,
    anchor: HPos,
}

impl Face {
    const TITLE: Self = Self::new(TITLE, FontStyle::Bold, INK);
    const LEGEND: Self = Self::new(TEXT, FontStyle::Normal, INK);
    const TICK: Self = Self::new(TEXT, FontStyle::Normal, SOFT_INK);
    const GROUP: Self = Self::new(TEXT, FontStyle::Normal, INK);

    const fn new(size: f64, style: FontStyle, colour: Colour) -> Self {
        Self {
            size,
            style,
            colour,
            anchor: HPos::Left,
        }
    }

    const fn centred(self) -> Self {
        Self {
            anchor: HPos::Center,
            ..self
        }
    }

    const fn right(self) -> Self {
        Self {
            anchor: HPos::Right,
            ..self
        }
    }
}

/// An estimate for the widest of the usual fonts without serifs.
fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(letter_width).sum::<f64>() * size
}

/// As a share of the font's size.
fn letter_width(letter: char) -> f64 {
    match letter {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | ' ' | '.' | ',' | ':' | '(' | ')' | '-' | '/' => 0.39,
        'm' | 'w' | 'M' | 'W' | '%' => 0.97,
        'A'..='Z' => 0.72,
        _ => 0.62,
    }
}

/// The text without what an SVG cannot hold, cut off where it has no room.
fn fit(text: &str, size: f64, width: f64) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    if text_width(&text, size) <= width {
        return text;
    }
    let mut start = text;
    while !start.is_empty() && text_width(&start, size) + size > width {
        start.pop();
    }
    format!("{}…", start.trim_end())
}

/// The same with what is cut off taken from the middle: of a title the end says when it was issued.
fn fit_ends(text: &str, size: f64, width: f64) -> String {
    let mut start: Vec<char> = text.chars().filter(|c| !c.is_control()).collect();
    let end = start.split_off(start.len() / 2);
    let mut end = std::collections::VecDeque::from(end);
    let width_of = |letters: &mut dyn Iterator<Item = &char>| -> f64 {
        letters.map(|&letter| letter_width(letter) * size).sum()
    };
    let room = |cut: bool| if cut { width - size } else { width };
    let mut cut = false;
    while width_of(&mut start.iter().chain(&end)) > room(cut) && !start.is_empty() {
        cut = true;
        start.pop();
        end.pop_front();
    }
    let (start, end): (String, String) = (start.iter().collect(), end.iter().collect());
    if cut {
        format!("{}…{}", start.trim_end(), end.trim_start())
    } else {
        start + &end
    }
}

/// Draws in shown pixels. Writing into a text cannot fail, so no result is looked at.
struct Canvas<'a>(DrawingArea<SVGBackend<'a>, Shift>);

impl Canvas<'_> {
    fn line(&self, points: &[(f64, f64)], stroke: Stroke) {
        let points: Vec<(i32, i32)> = points.iter().map(|&point| drawn(point)).collect();
        let style = ShapeStyle {
            color: stroke.colour.rgb().to_rgba(),
            filled: false,
            stroke_width: (stroke.width * SCALE) as u32,
        };
        let _ = match stroke.dash {
            None => self.0.draw(&PathElement::new(points, style)),
            Some((dash, gap)) => {
                let (dash, gap) = ((dash * SCALE) as i32, (gap * SCALE) as i32);
                self.0
                    .draw(&DashedPathElement::new(points, dash, gap, style))
            }
        };
    }

    fn polygon(&self, points: &[(f64, f64)], colour: Colour, opacity: f64) {
        let points: Vec<(i32, i32)> = points.iter().map(|&point| drawn(point)).collect();
        let _ = self
            .0
            .draw(&Polygon::new(points, colour.rgb().mix(opacity)));
    }

    fn rectangle(&self, from: (f64, f64), to: (f64, f64), colour: Colour, opacity: f64) {
        self.polygon(&[from, (to.0, from.1), to, (from.0, to.1)], colour, opacity);
    }

    fn dot(&self, at: (f64, f64), radius: f64, colour: Colour) {
        let radius = (radius * SCALE) as i32;
        let dot = EmptyElement::at(drawn(at)) + Circle::new((0, 0), radius, colour.rgb().filled());
        let _ = self.0.draw(&dot);
    }

    /// Words where the data would be, on a ground that keeps them readable.
    fn note(&self, text: &str, at: (f64, f64)) {
        let half = text_width(text, TEXT) / 2.0 + 2.0;
        let (from, to) = ((at.0 - half, at.1 - 8.0), (at.0 + half, at.1 + 8.0));
        self.rectangle(from, to, WHITE, 0.8);
        self.text(text, at, Face::TICK.centred(), f64::INFINITY);
    }

    fn text(&self, text: &str, at: (f64, f64), face: Face, width: f64) {
        // The back end divides a font's size by 1.24.
        let size = face.size * SCALE * 1.24;
        let colour = face.colour.rgb();
        let font = FontDesc::new(FontFamily::Name(FONTS), size, face.style);
        let style = TextStyle::from(font)
            .color(&colour)
            .pos(Pos::new(face.anchor, VPos::Center));
        let _ = self
            .0
            .draw(&Text::new(fit(text, face.size, width), drawn(at), style));
    }
}

impl Colour {
    fn rgb(self) -> RGBColor {
        RGBColor(self.0, self.1, self.2)
    }
}

fn drawn((x, y): (f64, f64)) -> (i32, i32) {
    ((x * SCALE).round() as i32, (y * SCALE).round() as i32)
}

/// The picture at its size, with round joins, and with words for who cannot see it.
fn with_header(svg: &str, title: &str, width: f64, height: f64) -> String {
    let body = svg.split_once(">\n").map_or("", |(_, body)| body);
    let title = fit_ends(title, TITLE, width)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    let (box_width, box_height) = (width * SCALE, height * SCALE);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {box_width} {box_height}\" role=\"img\" aria-label=\"{title}\" \
         stroke-linejoin=\"round\">\n{body}"
    )
}
