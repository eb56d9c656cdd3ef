// Podtool is the one program in the images that the end-to-end tests make for themselves. Its first
// argument says what it does; every verb then stays until SIGTERM.
//
//	pause   nothing: the sandbox of a pod, and the reaper of its orphans
//	report  prints, as one line of JSON, what the container was given: its environment, the device
//	        nodes beneath /dev with their numbers, and its capabilities
package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

type device struct {
	Path  string `json:"path"`
	Major uint64 `json:"major"`
	Minor uint64 `json:"minor"`
}

type report struct {
	Environment  map[string]string `json:"environment"`
	Devices      []device          `json:"devices"`
	Capabilities string            `json:"capabilities"`
}

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	verb := "pause"
	if len(os.Args) > 1 {
		verb = os.Args[1]
	}
	switch verb {
	case "pause":
	case "report":
		if err := json.NewEncoder(os.Stdout).Encode(look()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "%s: not a verb; there are pause and report\n", verb)
		os.Exit(2)
	}
	for got := range signals {
		if got != syscall.SIGCHLD {
			return
		}
		reap()
	}
}

func reap() {
	for {
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
			return
		}
	}
}

func look() report {
	found := report{Environment: map[string]string{}, Devices: []device{}, Capabilities: capabilities()}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		found.Environment[name] = value
	}
	// What cannot be read is left out: only its being there matters.
	_ = filepath.WalkDir("/dev", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeDevice == 0 || strings.HasPrefix(path, "/dev/pts/") {
			return nil
		}
		var stat syscall.Stat_t
		if syscall.Stat(path, &stat) == nil {
			major := (stat.Rdev>>8)&0xfff | (stat.Rdev>>32)&^uint64(0xfff)
			minor := stat.Rdev&0xff | (stat.Rdev>>12)&^uint64(0xff)
			found.Devices = append(found.Devices, device{path, major, minor})
		}
		return nil
	})
	return found
}

func capabilities() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, found := strings.CutPrefix(line, "CapEff:"); found {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}
