//! Puts a synonym beside each word that its list has. A text that begins with `stamp` it wants to stamp with the time, which nobody
//! has to grant it.

#[cfg(cofferdam_guest)]
mod guest {
    wit_bindgen::generate!({ world: "text-filter", path: "wit" });

    use exports::acme::text::filter::{Description, Guest, Problem};

    struct Dictionary;

    impl Guest for Dictionary {
        fn about() -> Description {
            Description { name: "dictionary".to_owned(), vendor: "Lexica".to_owned() }
        }

        fn transform(text: String) -> Result<String, Problem> {
            if let Some(rest) = text.strip_prefix("stamp ") {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let seconds = now.map_err(|error| Problem::Failed(error.to_string()))?.as_secs();
                return Ok(format!("{rest} [{seconds} s after 1970 began]"));
            }
            let list = std::fs::read_to_string("/words/synonyms.txt");
            let list = list.map_err(|error| Problem::Failed(format!("/words/synonyms.txt: {error}")))?;
            let synonym = |word: &str| {
                list.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| *key == word)).map(|(_, to)| to)
            };
            let words = text.split(' ').map(|word| match synonym(word) {
                Some(others) => format!("{word} ({others})"),
                None => word.to_owned(),
            });
            Ok(words.collect::<Vec<_>>().join(" "))
        }
    }

    export!(Dictionary);
}
