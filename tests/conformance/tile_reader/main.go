// A reader of logs that uses nothing of embhub: torchwood's client (c2sp.org/tlog-tiles, tlog-policy, tlog-proof) and
// golang.org/x/mod/sumdb/tlog. `.ci/tile-reader` compiles it, and test_tile_reader.py asks it.
//
//	tile-reader log POLICY PLACE STEP [OLDER…]  read a whole log, at an address or in a folder, and prove the inclusion of
//	                                            every STEP-th entry; OLDER are files with earlier checkpoints of it.
//	                                            Prints the checkpoint's size, and all entries.
//	tile-reader proof POLICY PROOF ENTRY        check a tlog-proof of the entry in a file
//
// What it refuses ends it with status 1 and the reason.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	policy, err := torchwood.ParsePolicy(read(os.Args[2]))
	check("policy", err)
	if os.Args[1] == "proof" {
		check("proof", torchwood.VerifyProof(policy, tlog.RecordHash(read(os.Args[4])), read(os.Args[3])))
		return
	}
	ctx := context.Background()
	tiles := open(os.Args[3])
	signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
	check("checkpoint", err)
	newest, _, err := torchwood.VerifyCheckpoint(signed, policy)
	check("checkpoint", err)
	step, err := strconv.Atoi(os.Args[4])
	check("step", err)
	for _, file := range os.Args[5:] {
		older, _, err := torchwood.VerifyCheckpoint(read(file), policy)
		check("older checkpoint", err)
		compare(ctx, tiles, older.Tree, newest.Tree)
	}
	check("output", json.NewEncoder(os.Stdout).Encode(map[string]any{
		"size": newest.N, "entries": entriesOf(ctx, tiles, newest.Tree, step),
	}))
}

// open reads over HTTP or from a folder.
func open(place string) torchwood.TileReader {
	var tiles torchwood.TileReader
	var err error
	if strings.HasPrefix(place, "http://") {
		tiles, err = torchwood.NewTileFetcher(place)
	} else {
		tiles, err = torchwood.NewTileFS(os.DirFS(place))
	}
	check("place", err)
	return tiles
}

// compare proves by tiles that the newer tree begins with the older one.
func compare(ctx context.Context, tiles torchwood.TileReader, older, newer tlog.Tree) {
	proof, err := tlog.ProveTree(newer.N, older.N, torchwood.TileHashReaderWithContext(ctx, newer, tiles))
	check("consistency", err)
	check("consistency", tlog.CheckTree(proof, newer.N, newer.Hash, older.N, older.Hash))
}

// entriesOf are all entries: read in order under the tree's hash, and every step-th once more with its proof of inclusion.
func entriesOf(ctx context.Context, tiles torchwood.TileReader, tree tlog.Tree, step int) [][]byte {
	client, err := torchwood.NewClient(tiles)
	check("client", err)
	entries := [][]byte{}
	for _, entry := range client.AllEntries(ctx, tree, 0) {
		entries = append(entries, entry)
	}
	check("entries", client.Err())
	for index := 0; index < len(entries); index += step {
		_, proof, err := client.Entry(ctx, tree, int64(index))
		check("inclusion", err)
		check("inclusion", tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), tlog.RecordHash(entries[index])))
	}
	return entries
}

func read(file string) []byte {
	data, err := os.ReadFile(file)
	check("file", err)
	return data
}

func check(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}
