println!("{:08x}", @IDENT@.checksum(b"Wikipedia")?);
