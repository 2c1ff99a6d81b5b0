// Writes the tar of a directory as engines write layers: go_writer DIRECTORY TYPE_BITS USERS GROUPS > TAR, with names as `0=root,`
package main

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func parse(text string) map[int]string {
	names := map[int]string{}
	for _, item := range strings.Split(text, ",") {
		number, name, _ := strings.Cut(item, "=")
		id, err := strconv.Atoi(number)
		if err == nil {
			names[id] = name
		}
	}
	return names
}

func main() {
	top, hasTypeBits := os.Args[1], os.Args[2] == "true"
	users, groups := parse(os.Args[3]), parse(os.Args[4])
	writer := tar.NewWriter(os.Stdout)
	names := map[uint64]string{}
	check(filepath.Walk(top, func(path string, info os.FileInfo, err error) error {
		check(err)
		name, err := filepath.Rel(top, path)
		check(err)
		if name == "." {
			return nil
		}
		link := ""
		if info.Mode()&os.ModeSymlink != 0 {
			link, err = os.Readlink(path)
			check(err)
		}
		header, err := tar.FileInfoHeader(info, link)
		check(err)
		status := info.Sys().(*syscall.Stat_t)
		header.Format = tar.FormatPAX
		header.ModTime = header.ModTime.Truncate(time.Second)
		header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
		header.Name, header.Uname, header.Gname = name, users[header.Uid], groups[header.Gid]
		if info.IsDir() {
			header.Name += "/"
		} else if first, ok := names[status.Ino]; ok {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
		} else {
			names[status.Ino] = name
		}
		if hasTypeBits {
			header.Mode |= int64(status.Mode & syscall.S_IFMT)
		}
		value := make([]byte, 256)
		if info.Mode()&os.ModeSymlink == 0 {
			if size, err := syscall.Getxattr(path, "security.capability", value); err == nil {
				header.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": string(value[:size])}
			}
		}
		check(writer.WriteHeader(header))
		if header.Typeflag == tar.TypeReg {
			file, err := os.Open(path)
			check(err)
			_, err = io.Copy(writer, file)
			check(err)
			check(file.Close())
		}
		return nil
	}))
	check(writer.Close())
}
