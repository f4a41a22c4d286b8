//! The setting that was meant by a name that is none.

/// What to say after the complaint about `name`: the nearest of `known`, or those of a table that it names; often
/// nothing.
pub(super) fn advice(name: &str, known: &[&str]) -> String {
    let table = format!("{name}_");
    let members: Vec<_> = known.iter().filter(|known| known.starts_with(&table)).copied().collect();
    if !members.is_empty() {
        return format!("; there are {}", members.join(", "));
    }
    let distances = || known.iter().map(|known| (distance(name, known), known));
    // A slip of the finger or two; names that differ in more are others.
    let Some(least) = distances().map(|(distance, _)| distance).min().filter(|least| *least <= 2) else {
        return String::new();
    };
    let near = distances().filter(|(distance, _)| *distance == least).map(|(_, known)| format!("`{known}`"));
    format!("; did you mean {}?", near.collect::<Vec<_>>().join(" or "))
}

/// How many letters have to be put in, taken out or replaced to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_distant_one_is_not() {
        let known = ["command_timeout", "connect_timeout", "pool_min", "pool_max"];
        assert_eq!(advice("comand_timeout", &known), "; did you mean `command_timeout`?");
        assert_eq!(advice("pool_mni", &known), "; did you mean `pool_min` or `pool_max`?");
        assert_eq!(advice("pool", &known), "; there are pool_min, pool_max");
        assert_eq!(advice("cluster", &known), "");
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
