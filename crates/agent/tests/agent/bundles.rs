//! Several files in one request.

use std::fs;

use bytes::BytesMut;
use wire::guest::bundle::{Decoder, FileHeader, Part, encode};
use wire::guest::{Done, Error, ErrorCode, Request};

use crate::harness::{Agent, Client};

fn bundle(files: &[(&str, &[u8])]) -> BytesMut {
    let mut out = BytesMut::new();
    for (path, content) in files {
        encode(&Part::File(FileHeader { path: (*path).into(), mode: None }), &mut out);
        encode(&Part::Piece(content.to_vec().into()), &mut out);
        encode(&Part::End, &mut out);
    }
    out
}

fn write(client: &mut Client, bundle: &[u8]) -> Result<u64, Error> {
    let stream = client.open(&Request::WriteFiles);
    let outcome = match client.feed(stream, bundle) {
        Ok(()) => client.collect(stream).3,
        Err(early) => *early,
    };
    match outcome? {
        Done::Write { bytes } => Ok(bytes),
        other => panic!("no end of a write: {other:?}"),
    }
}

fn read(client: &mut Client, paths: &[&str]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let stream = client.open(&Request::ReadFiles { paths });
    let (_, stdout, _, outcome) = client.collect(stream);
    let Done::Read { bytes } = outcome? else { panic!("no end of a read") };
    let (mut decoder, mut files) = (Decoder::default(), Vec::new());
    decoder.feed(&stdout);
    while let Some(part) = decoder.next_part().unwrap() {
        match part {
            Part::File(header) => files.push((header.path, Vec::new())),
            Part::Piece(piece) => files.last_mut().unwrap().1.extend_from_slice(&piece),
            Part::End => {}
        }
    }
    assert!(decoder.is_complete());
    assert_eq!(bytes, files.iter().map(|(_, content)| content.len() as u64).sum::<u64>());
    Ok(files)
}

#[test]
fn files_that_are_written_together_are_read_together() {
    let (_agent, mut client) = Agent::claimed();
    let large: Vec<u8> = (0..1_000_000u32).map(|number| ((number * 31) >> 3) as u8).collect();
    let files: [(&str, &[u8]); 3] = [("a/b", b""), ("/work/\"x\"\n", &large), ("c", b"\0")];
    assert_eq!(write(&mut client, &bundle(&files)).unwrap(), 1_000_001);
    let expect: Vec<_> = files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
    assert!(read(&mut client, &["a/b", "/work/\"x\"\n", "c"]).unwrap() == expect);
    assert_eq!(write(&mut client, b"").unwrap(), 0);
    assert_eq!(read(&mut client, &["c", "gone"]).unwrap_err().code, ErrorCode::NotFound);
}

#[test]
fn those_before_one_that_fails_stay() {
    let (agent, mut client) = Agent::claimed();
    fs::create_dir(agent.outside("/work/dir")).unwrap();
    let error = write(&mut client, &bundle(&[("a", b"1"), ("dir", b"2"), ("b", b"3")])).unwrap_err();
    assert_eq!(error.code, ErrorCode::IsADirectory);
    assert!(agent.outside("/work/a").exists() && !agent.outside("/work/b").exists());
}

#[test]
fn a_bundle_that_stops_or_makes_no_sense_leaves_no_half() {
    let (agent, mut client) = Agent::claimed();
    let whole = bundle(&[("a", b"12345"), ("b", &[7; 5000])]);
    let cut = write(&mut client, &whole[..whole.len() - 100]).unwrap_err();
    assert!(cut.code == ErrorCode::Invalid && cut.message.contains("stops"), "{cut}");
    assert_eq!(write(&mut client, &[0xff; 100]).unwrap_err().code, ErrorCode::Invalid);
    let names: Vec<_> =
        fs::read_dir(agent.outside("/work")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["a"]);
}
