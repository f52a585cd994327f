//! Lines and lists of records as CSV (RFC 4180), for spreadsheets and pandas.

use serde_json::Value;

/// One line for each object. A column is a field, of an object within it `outer.inner`; lists of
/// lists or of objects are left out, other lists are JSON. A field that is null or absent is empty.
pub fn of_records(records: &[Value]) -> String {
    let mut columns: Vec<String> = Vec::new();
    let mut lines = Vec::new();
    for record in records {
        let mut fields = Vec::new();
        flatten("", record, &mut fields);
        for (name, _) in &fields {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        lines.push(fields);
    }
    let cells = |fields: &Vec<(String, String)>| {
        let of = |name: &String| fields.iter().find(|(n, _)| n == name);
        let cell = |name| of(name).map(|(_, text)| text.clone()).unwrap_or_default();
        columns.iter().map(cell).collect()
    };
    let rows: Vec<Vec<String>> = lines.iter().map(cells).collect();
    text(columns, rows)
}

fn flatten(name: &str, value: &Value, out: &mut Vec<(String, String)>) {
    let simple = |v: &Value| !v.is_array() && !v.is_object();
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let inner = match name {
                    "" => key.clone(),
                    outer => format!("{outer}.{key}"),
                };
                flatten(&inner, value, out);
            }
        }
        Value::Array(items) if !items.iter().all(simple) => {}
        Value::Null => out.push((name.into(), String::new())),
        Value::String(text) => out.push((name.into(), text.clone())),
        other => out.push((name.into(), other.to_string())),
    }
}

/// A line of headings and one for each row.
pub fn text(head: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let lines = std::iter::once(head).chain(rows);
    lines.map(|cells| line(cells) + "\n").collect()
}

/// Cells in a line, without its end; a cell with a comma, a quotation mark or a line break stands
/// in quotes.
fn line(cells: Vec<String>) -> String {
    let quoted = |text: String| match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    };
    let cells: Vec<String> = cells.into_iter().map(quoted).collect();
    cells.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn records_have_a_column_for_every_field_of_any_of_them() {
        let records = [
            json!({"a": 1, "b": {"c": "x, \"y\"", "d": null}, "curve": [[1, 2.0]]}),
            json!({"b": {"c": "z"}, "e": [1, 2], "a": 0.5}),
        ];
        let expected = "a,b.c,b.d,e\n1,\"x, \"\"y\"\"\",,\n0.5,z,,\"[1,2]\"\n";
        assert_eq!(of_records(&records), expected);
    }
}
