// What the programs share: TAP output and the data that the checks use.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	pipelined = 10000
	scanned   = 1000
	script    = "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}"
)

var (
	libraryVersion = "unknown" // set when it is linked
	host           = os.Args[1]
	port           = os.Args[2]
	password       = os.Args[3]
	openPort       = port
	allBytes       = make([]byte, 256)
	megabyte       = make([]byte, 1<<20)
	jobs           = []string{"one", "two", "three"}

	reported  int
	hasFailed bool
)

func init() {
	if value := os.Getenv("DISKKV_CLIENT_OPEN_PORT"); value != "" {
		openPort = value
	}
	for i := range allBytes {
		allBytes[i] = byte(i)
	}
	for i := range megabyte {
		megabyte[i] = byte(i*31 + i/257)
	}
}

func isWorker() bool { return len(os.Args) > 5 && os.Args[5] == "worker" }

// failure is what a check panics with.
type failure string

func check(name string, body func()) {
	reported++
	defer func() {
		reason := recover()
		if reason == nil {
			fmt.Printf("ok %d - %s\n", reported, name)
			return
		}
		hasFailed = true
		fmt.Printf("not ok %d - %s\n", reported, name)
		for _, line := range strings.Split(fmt.Sprint(reason), "\n") {
			fmt.Printf("# %s\n", line)
		}
	}()
	body()
}

func skip(name, reason string) {
	reported++
	fmt.Printf("ok %d - %s # SKIP %s\n", reported, name, reason)
}

func end() {
	fmt.Printf("1..%d\n", reported)
	if hasFailed {
		os.Exit(1)
	}
}

// must ends the check when a call failed.
func must(err error) {
	if err != nil {
		panic(failure(err.Error()))
	}
}

func equal(actual, expected interface{}) {
	if !reflect.DeepEqual(actual, expected) {
		panic(failure(fmt.Sprintf("expected %#v, got %#v", expected, actual)))
	}
}

func refused(err error, prefix string) {
	if err == nil || !strings.HasPrefix(err.Error(), prefix) {
		panic(failure(fmt.Sprintf("expected the error %q, got %v", prefix, err)))
	}
}

func until(condition func() bool) {
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			panic(failure("what was waited for did not come"))
		}
	}
}

// withWorker runs the same program in another process, as the worker of the queue; it must end well.
func withWorker(body func()) {
	worker := exec.Command(os.Args[0], append(append([]string{}, os.Args[1:5]...), "worker")...)
	worker.Stderr = os.Stderr
	must(worker.Start())
	defer worker.Process.Kill()
	body()
	must(worker.Wait())
}

func restart() {
	fmt.Println("# RESTART")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	must(err)
	equal(strings.TrimSpace(line), "restarted")
}

func sorted(values []string) []string {
	result := append([]string{}, values...)
	sort.Strings(result)
	return result
}

func scannedNames() []string {
	names := make([]string, scanned)
	for i := range names {
		names[i] = "scanned:" + strconv.Itoa(i)
	}
	return names
}

// distinct gives the values sorted, each once.
func distinct(values []string) []string {
	seen := map[string]bool{}
	var result []string
	for _, value := range values {
		if !seen[value] {
			result = append(result, value)
		}
		seen[value] = true
	}
	return sorted(result)
}
