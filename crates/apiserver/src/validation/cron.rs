//! Schedules of CronJobs: five fields, or one of the names with `@`. What is wrong is said as the scheduler that upstream uses
//! (robfig/cron) says it.

/// One field: its bounds, and the names of its values.
struct Field {
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { least: 0, most: 59, names: &[] },
    Field { least: 0, most: 23, names: &[] },
    Field { least: 1, most: 31, names: &[] },
    Field {
        least: 1,
        most: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { least: 0, most: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

const NAMED: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// What is wrong with a schedule.
pub(super) fn check(schedule: &str) -> Option<String> {
    if schedule.is_empty() {
        return Some("empty spec string".to_owned());
    }
    if schedule.starts_with('@') {
        return descriptor(schedule);
    }
    let parts: Vec<&str> = schedule.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
    }
    parts.iter().zip(&FIELDS).find_map(|(text, field)| text.split(',').find_map(|range| field.range(range).err()))
}

fn descriptor(text: &str) -> Option<String> {
    if let Some(interval) = text.strip_prefix("@every ") {
        return (!is_duration(interval))
            .then(|| format!("failed to parse duration {text}: time: invalid duration {interval:?}"));
    }
    (!NAMED.contains(&text)).then(|| format!("unrecognized descriptor: {text}"))
}

/// Go's `time.ParseDuration`, as far as a schedule needs it: numbers with units.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let unit = ["ms", "us", "ns", "h", "m", "s"].iter().find_map(|unit| rest.get(digits..)?.strip_prefix(*unit));
        match unit {
            Some(after) if digits > 0 => rest = after,
            _ => return false,
        }
    }
    !text.is_empty()
}

impl Field {
    fn value(&self, text: &str) -> Result<u32, String> {
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(self.least + u32::try_from(at).unwrap_or(0));
        }
        text.parse()
            .map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
    }

    /// `*`, `5`, `1-5`, each with a step after `/`.
    fn range(&self, range: &str) -> Result<(), String> {
        let (span, step) = range.split_once('/').map_or((range, None), |(span, step)| (span, Some(step)));
        if step.is_some_and(|step| step.contains('/')) {
            return Err(format!("too many slashes: {range}"));
        }
        let (start, end) = match span {
            "*" | "?" => (self.least, self.most),
            _ => match span.split_once('-') {
                Some((_, end)) if end.contains('-') => return Err(format!("too many hyphens: {range}")),
                Some((start, end)) => (self.value(start)?, self.value(end)?),
                None => {
                    let start = self.value(span)?;
                    (start, if step.is_some() { self.most } else { start })
                }
            },
        };
        let step = step.map_or(Ok(1), |step| self.value(step))?;
        if start < self.least {
            return Err(format!("beginning of range ({start}) below minimum ({}): {range}", self.least));
        }
        if end > self.most {
            return Err(format!("end of range ({end}) above maximum ({}): {range}", self.most));
        }
        if start > end {
            return Err(format!("beginning of range ({start}) beyond end of range ({end}): {range}"));
        }
        if step == 0 {
            return Err(format!("step of range should be a positive number: {range}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn good_schedules_pass() {
        for good in ["* * * * *", "*/5 0-6,12 1 JAN sun", "@hourly", "@every 1h30m", "0 0 ? * MON-FRI", "5/15 * * * 0"]
        {
            assert_eq!(check(good), None, "{good}");
        }
    }

    #[test]
    fn bad_schedules_say_what_is_wrong() {
        for (bad, why) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("@never", "unrecognized descriptor: @never"),
        ] {
            assert_eq!(check(bad).as_deref(), Some(why));
        }
    }
}
