// A consumer under measurement: calls the API ten times a second with the token in a mounted folder, and counts the calls
// that were refused. MODE says how it comes by the token:
//
//	each       reads the file for every call
//	on-401     keeps the token in memory, and reads the file again after a call was refused
//	transport  leaves it to the transport of examples/consumers/go
//	busy       has none, and calls fifty times a second through a proxy
//
// Every second it prints what it counted so far, as JSON. It never prints a token.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"pleo-consumer/pleo"
)

// Counts is what one line of output says.
type Counts struct {
	Calls   int `json:"calls"`
	Refused int `json:"refused"`
	Failed  int `json:"failed"`
}

func main() {
	if os.Getenv("MODE") == "busy" {
		runBusy()
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	counts, client := Counts{}, &http.Client{Timeout: 2 * time.Minute}
	call := caller(os.Getenv("MODE"), client, &counts)
	calls, lines := time.NewTicker(100*time.Millisecond), time.NewTicker(time.Second)
	for {
		select {
		case <-stop:
			return
		case <-calls.C:
			if err := call(); err != nil {
				counts.Failed++
				fmt.Fprintln(os.Stderr, err)
			}
		case <-lines.C:
			line, err := json.Marshal(counts)
			if err != nil {
				panic(err)
			}
			fmt.Println(string(line))
		}
	}
}

// caller makes one call in that mode.
func caller(mode string, client *http.Client, counts *Counts) func() error {
	url, folder := os.Getenv("PLEO_API_URL"), os.Getenv("PLEO_TOKEN_DIR")
	if folder == "" {
		folder = pleo.DefaultDir
	}
	if mode == "transport" {
		client.Transport = &pleo.Transport{Dir: folder, OnRefused: func() { counts.Refused++ }}
		return func() error {
			counts.Calls++
			response, err := client.Get(url)
			if err != nil {
				return err
			}
			return response.Body.Close()
		}
	}
	kept := ""
	return func() error {
		if kept == "" || mode == "each" {
			text, err := os.ReadFile(filepath.Join(folder, "access_token"))
			if err != nil {
				return err
			}
			kept = string(text)
		}
		request, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+kept)
		counts.Calls++
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		if response.StatusCode == http.StatusUnauthorized {
			counts.Refused++
			kept = ""
		}
		return response.Body.Close()
	}
}
