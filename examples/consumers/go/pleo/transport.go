// Package pleo calls the Pleo API with the access token of a PleoConnection, whose token Secret is mounted as a folder.
//
// A rotation invalidates the token before it, and the file follows a moment later. So the token is read again for
// each request, and a 401 means: wait until the file holds another one, then send the request once more. That is safe for
// every method, as a request that was answered with 401 was not carried out. While a rotation is planned for about now,
// requests wait for it; and a token that the API rejects for no such reason is reported, so that the operator refreshes it
// early.
package pleo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultDir is where the Secret is mounted.
	DefaultDir = "/var/run/pleo"

	// Patience is how long a request waits for a usable token, unless its context ends earlier. For as long, a refused
	// token is not sent again; after that it is tried once more, in case the 401 had another cause.
	Patience = 2 * time.Minute

	// Requests wait from a moment before a planned rotation to so long after it.
	early, window = 250 * time.Millisecond, 3 * time.Second

	// How long a token has been refused before that is reported: another may be on its way.
	reportAfter   = 3 * time.Second
	reportTimeout = 5 * time.Second
	// When it is reported again: after a report that was not taken, and after one that was.
	retryAfter, reportAgain = 10 * time.Second, 10 * time.Minute

	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// ErrReauthRequired means that a user must authorize again, so there is no use in calling.
var ErrReauthRequired = errors.New("pleo: a user must authorize again (state ReauthRequired)")

// NoTokenError means that there was no usable token for as long as Patience.
type NoTokenError struct{ Dir, Reason string }

func (e *NoTokenError) Error() string {
	return fmt.Sprintf("pleo: no usable token in %s for %v: %s", e.Dir, Patience, e.Reason)
}

// Transport adds the token to requests. It is an http.RoundTripper for many goroutines at once: share one.
type Transport struct {
	Dir       string            // where the Secret is mounted; DefaultDir if empty
	Base      http.RoundTripper // sends the requests; http.DefaultTransport if nil
	Cached    bool              // keep the token in memory, and read it again only after a 401
	OnRefused func()            // called for each 401 to a token, if not nil
	ReportURL string            // the operator's for this connection; nothing is reported if empty

	mutex     sync.Mutex
	cached    string
	refused   string
	refusedAt time.Time

	reportNotBefore time.Time
}

// RoundTrip sends a request with the token. After a 401 it waits for another token and sends the request once more. It
// gives up when the request's context ends, after Patience, or with ErrReauthRequired. If the request's body cannot be
// had a second time (no GetBody), the 401 is handed to the caller.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" {
		closeBody(request)
		return nil, errors.New("pleo: a token is sent over HTTPS only")
	}
	if leavesOrigin(request) {
		return t.base().RoundTrip(request)
	}
	deadline := time.Now().Add(Patience)
	for first := true; ; first = false {
		token, err := t.usable(request.Context(), deadline)
		if err != nil {
			closeBody(request)
			return nil, err
		}
		// A RoundTripper must not change the request that it is given.
		attempt := request.Clone(request.Context())
		if !first && request.GetBody != nil {
			if attempt.Body, err = request.GetBody(); err != nil {
				return nil, err
			}
		}
		attempt.Header.Set("Authorization", "Bearer "+token)
		response, err := t.base().RoundTrip(attempt)
		if err != nil || response.StatusCode != http.StatusUnauthorized {
			return response, err
		}
		t.refuse(token)
		if hasBody(request) && request.GetBody == nil {
			return response, nil
		}
		// An answer that was read to its end leaves the connection for the next request.
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
		_ = response.Body.Close()
	}
}

// usable waits for a token that may be sent.
func (t *Transport) usable(ctx context.Context, deadline time.Time) (string, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		token, reason, err := t.look()
		if err != nil || reason == "" {
			return token, err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return "", &NoTokenError{Dir: t.dir(), Reason: reason}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("pleo: while waiting for a usable token in %s (%s): %w", t.dir(), reason, ctx.Err())
		case <-time.After(min(pause, left)):
		}
		t.report()
	}
}

// look gives the token if it may be sent now, otherwise the reason to wait.
func (t *Transport) look() (token, reason string, err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.Cached && t.cached != "" && t.cached != t.refused {
		return t.cached, "", nil
	}
	token, reason, err = t.read()
	if err != nil || reason != "" {
		return "", reason, err
	}
	if token == t.refused && time.Since(t.refusedAt) <= Patience {
		return "", "the API refused the current one", nil
	}
	if t.isDue() {
		return "", "it is refreshed in a moment", nil
	}
	t.cached, t.refused = token, ""
	return token, "", nil
}

// read looks into the folder. It may be updated between the two files, so the token goes first: whatever is mixed up then
// ends in one more look or in a 401.
func (t *Transport) read() (token, reason string, err error) {
	content, tokenErr := os.ReadFile(filepath.Join(t.dir(), "access_token"))
	state, err := os.ReadFile(filepath.Join(t.dir(), "state"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", "there is no file state", nil
	case err != nil:
		return "", "", err
	case string(state) == "ReauthRequired":
		return "", "", ErrReauthRequired
	case string(state) == "Pending" || string(state) == "Expired" || errors.Is(tokenErr, os.ErrNotExist):
		return "", "state " + string(state), nil
	case tokenErr != nil:
		return "", "", tokenErr
	}
	// As it is stored: tokens are opaque.
	return string(content), "", nil
}

// isDue reports whether the operator plans to rotate about now. Without a plan, or one that is not understood: no.
func (t *Transport) isDue() bool {
	content, _ := os.ReadFile(filepath.Join(t.dir(), "refresh_at"))
	due, err := time.Parse(time.RFC3339Nano, string(content))
	late := time.Since(due)
	return err == nil && late >= -early && late < window
}

// report reports the token that was refused. What is sent proves that this program has it; the token stays here.
func (t *Transport) report() {
	token := t.unreported()
	if token == "" {
		return
	}
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("pleo-operator rejection v1"))
	body := strings.NewReader(fmt.Sprintf(`{"proof": "%x"}`, mac.Sum(nil)))
	response, err := direct.Post(t.ReportURL, "application/json", body)
	if err != nil {
		// It is tried again, and the operator notices at the next planned rotation anyway.
		return
	}
	_ = response.Body.Close()
	if response.StatusCode == http.StatusAccepted {
		t.mutex.Lock()
		t.reportNotBefore = time.Now().Add(reportAgain)
		t.mutex.Unlock()
	}
}

// direct does not use the proxy of the environment: the operator is in the cluster.
var direct = &http.Client{
	Transport:     &http.Transport{},
	Timeout:       reportTimeout,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// unreported gives a token that has been refused for a while, is still the current one, and is to be reported now.
func (t *Transport) unreported() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	now := time.Now()
	is := t.ReportURL != "" && t.refused != "" && now.Sub(t.refusedAt) >= reportAfter && now.After(t.reportNotBefore)
	if !is {
		return ""
	}
	if current, _, err := t.read(); err != nil || current != t.refused {
		return ""
	}
	t.reportNotBefore = now.Add(retryAfter)
	return t.refused
}

func (t *Transport) refuse(token string) {
	t.mutex.Lock()
	t.refused, t.refusedAt = token, time.Now()
	t.mutex.Unlock()
	if t.OnRefused != nil {
		t.OnRefused()
	}
}

func (t *Transport) dir() string {
	if t.Dir == "" {
		return DefaultDir
	}
	return t.Dir
}

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

// leavesOrigin reports whether the request follows a redirect to another host, which must not see the token.
func leavesOrigin(request *http.Request) bool {
	first := request
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return first.URL.Host != request.URL.Host
}

func hasBody(request *http.Request) bool {
	return request.Body != nil && request.Body != http.NoBody
}

// closeBody does what a RoundTripper owes for a request that it does not send.
func closeBody(request *http.Request) {
	if request.Body != nil {
		_ = request.Body.Close()
	}
}
