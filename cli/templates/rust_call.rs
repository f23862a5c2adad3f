println!("{}", @IDENT@.greet("Ada")?);
