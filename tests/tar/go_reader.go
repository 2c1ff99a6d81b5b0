// Reads tars with Go's archive/tar, which container engines unpack layers with, and says what it found.
//
// On standard input: for each tar its length, four bytes, and its bytes. On standard output: a line of JSON for each.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"io"
	"os"
	"strings"
)

type member struct {
	Type                     int
	Name, Link, Uname, Gname []byte
	Size, Mode, Uid, Gid     int64
	Seconds, Nanoseconds     int64
	Major, Minor             int64
	Names, Values            [][]byte // of extended attributes
	Length                   int64    // of what could be read
	Checksum                 uint32
	Error                    string // of reading the content
}

type archive struct {
	Members []member
	Error   string
}

func list(data []byte) (found archive) {
	reader := tar.NewReader(struct{ io.Reader }{bytes.NewReader(data)}) // no seeking, as with a stream
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			found.Error = err.Error()
			return
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		of := member{
			Type: int(header.Typeflag), Name: []byte(header.Name), Link: []byte(header.Linkname),
			Uname: []byte(header.Uname), Gname: []byte(header.Gname), Size: header.Size, Mode: header.Mode,
			Uid: int64(header.Uid), Gid: int64(header.Gid),
			Seconds: header.ModTime.Unix(), Nanoseconds: int64(header.ModTime.Nanosecond()),
			Major: header.Devmajor, Minor: header.Devminor,
		}
		for key, value := range header.PAXRecords {
			if strings.HasPrefix(key, "SCHILY.xattr.") {
				of.Names = append(of.Names, []byte(strings.TrimPrefix(key, "SCHILY.xattr.")))
				of.Values = append(of.Values, []byte(value))
			}
		}
		hash := crc32.NewIEEE()
		of.Length, err = io.Copy(hash, reader)
		of.Checksum = hash.Sum32()
		if err != nil {
			of.Error = err.Error()
		}
		found.Members = append(found.Members, of)
		if err != nil {
			found.Error = err.Error()
			return
		}
	}
}

func main() {
	input, output := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	defer output.Flush()
	encoder := json.NewEncoder(output)
	for {
		var length uint32
		if err := binary.Read(input, binary.BigEndian, &length); err == io.EOF {
			return
		} else if err != nil {
			panic(err)
		}
		data := make([]byte, length)
		if _, err := io.ReadFull(input, data); err != nil {
			panic(err)
		}
		if err := encoder.Encode(list(data)); err != nil {
			panic(err)
		}
	}
}
