// Calls an API every second with the token of a PleoConnection, and shows the result. It never prints a token.
//
// PLEO_API_URL is what to call, PLEO_TOKEN_DIR where the token Secret is mounted (/var/run/pleo), PLEO_REPORT_URL where a token
// that the API rejects is reported, and SSL_CERT_FILE a CA to trust in place of the system's.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"pleo-consumer/pleo"
)

func main() {
	// The first process of a container must ask for SIGTERM, or it never sees it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv("PLEO_API_URL")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url string) error {
	if url == "" {
		return errors.New("set PLEO_API_URL to what is to be called")
	}
	client := &http.Client{
		Transport: &pleo.Transport{
			Dir:       os.Getenv("PLEO_TOKEN_DIR"),
			OnRefused: func() { fmt.Println("401: refused; waiting for another token") },
			ReportURL: os.Getenv("PLEO_REPORT_URL"),
		},
		// The wait for a token counts, too.
		Timeout: pleo.Patience + time.Minute,
	}
	for {
		line, err := call(ctx, client, url)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, pleo.ErrReauthRequired):
			// This program ends, so that you see it. A server would answer 503 and go on looking.
			return err
		case err != nil:
			line = err.Error()
		}
		fmt.Println(line)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// call gives the status and the answer.
func call(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return fmt.Sprintf("%d %s", response.StatusCode, body), err
}
