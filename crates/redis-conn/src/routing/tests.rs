//! Routes checked against the key positions a real server states.

use redis::cmd;

use super::*;

/// `name first last step [movable]` of each command and subcommand of redis-server 7.0.15 (`COMMAND`).
const COMMANDS: &str = include_str!("commands-7.0.txt");

#[test]
fn first_keys_stand_where_the_server_says() {
    for line in COMMANDS.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let first: usize = fields[1].parse().unwrap();
        // The server's own table has no position for these; they have their tests below.
        if fields.contains(&"movable") && first == 0 {
            continue;
        }
        let command = numbered(fields[0]);
        let args = Args(&command);
        let mut buffer = [0; 24];
        let name = args.name(&mut buffer).unwrap();
        let found = match keyless(name, args) {
            Err(_) | Ok(Some(_)) => 0,
            Ok(None) => first_key(name, args)
                .map_or(0, |key| (1..6).find(|index| args.at(*index) == Some(key)).unwrap()),
        };
        let subcommand_help = fields[0].ends_with("|help");
        assert!(found == first || subcommand_help, "{line}: found {found}");
    }
}

#[test]
fn keys_behind_a_count_or_a_word_are_found() {
    let of = |words: &str| {
        let mut words = words.split(' ');
        let mut command = cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        Route::of(&command).unwrap()
    };
    let slot = Route::Slot(slot_of(b"k"));
    for words in [
        "EVAL return 1 k v",
        "evalsha abc 2 k {k}2 v",
        "FCALL f 1 k",
        "XREAD COUNT 2 STREAMS k 0",
        "XREADGROUP GROUP g c STREAMS k >",
        "ZUNION 1 k",
        "SINTERCARD 1 k",
        "LMPOP 1 k LEFT",
        "BLMPOP 0 1 k LEFT",
        "MIGRATE h 1 k 0 5",
        "OBJECT ENCODING k",
        "get k",
        "NOSUCHCOMMAND k",
    ] {
        assert_eq!(of(words), slot, "{words}");
    }
    assert_eq!(of("EVAL return 0"), Route::AnyMaster);
    assert_eq!(of("PING"), Route::AnyMaster);
    assert_eq!(of("DBSIZE"), Route::AllMasters(Gather::Sum));
    assert_eq!(of("SCRIPT EXISTS a b"), Route::AllMasters(Gather::All));
}

#[test]
fn commands_of_many_keys_are_divided_only_when_they_must_be() {
    assert_eq!(Route::of(cmd("MGET").arg("{a}1").arg("{a}2")).unwrap(), Route::Slot(slot_of(b"a")));
    let divided = Route::of(cmd("MSET").arg("a").arg("1").arg("b").arg("2")).unwrap();
    assert_eq!(divided, Route::Divided(Division { step: 2, gather: Gather::Same }));
    let mset = cmd("MSET").arg("a").arg("1").arg("b").arg("2").clone();
    let parts = divided_args(&mset, 2);
    assert_eq!(parts, [(slot_of(b"a"), vec![&b"a"[..], b"1"]), (slot_of(b"b"), vec![&b"b"[..], b"2"])]);
}

#[test]
fn transactions_stay_in_one_slot() {
    let mut pipeline = redis::pipe();
    pipeline.atomic().cmd("SET").arg("{a}1").arg(1).cmd("PING").cmd("INCR").arg("{a}2");
    assert_eq!(Route::of_transaction(&pipeline).unwrap(), Some(slot_of(b"a")));
    pipeline.cmd("GET").arg("b");
    assert_eq!(Route::of_transaction(&pipeline).unwrap_err().kind(), ErrorKind::CrossSlot);
}

#[test]
fn commands_bound_to_one_node_are_refused() {
    for name in ["SCAN", "select"] {
        assert_eq!(Route::of(cmd(name).arg(0)).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

/// `OBJECT|ENCODING` and the like, with arguments that tell their own position.
fn numbered(name: &str) -> Cmd {
    let mut words = name.split('|');
    let mut command = cmd(words.next().unwrap());
    let mut position = 1;
    for word in words {
        command.arg(word);
        position += 1;
    }
    for index in position..8 {
        command.arg(format!("arg{index}"));
    }
    command
}
