package pleo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Characters that careless code changes: in URLs, JSON, YAML, shells and templates.
const awkward = `A+/=%&"\<>' ${},:;#`

// api takes the place of Pleo: one token is good, and it notes all that it was sent. Time is synctest's, so nothing waits.
type api struct {
	mutex sync.Mutex
	good  string
	seen  []string // token and body of each request
}

func (a *api) RoundTrip(request *http.Request) (*http.Response, error) {
	body := ""
	if request.Body != nil {
		content, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		_ = request.Body.Close()
		body = string(content)
	}
	token := strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer ")
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.seen = append(a.seen, token+"|"+body)
	recorder := httptest.NewRecorder()
	if token != a.good {
		recorder.WriteHeader(http.StatusUnauthorized)
	}
	response := recorder.Result()
	response.Request = request
	return response, nil
}

func (a *api) accept(token string) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.good = token
}

// volume is a mounted Secret: as the kubelet does it, an update makes a new folder, and swaps the link ..data.
type volume struct {
	t       *testing.T
	dir     string
	updates int
}

func mount(t *testing.T) *volume {
	return &volume{t: t, dir: t.TempDir()}
}

func (v *volume) update(state, token string) {
	v.t.Helper()
	v.updates++
	name := fmt.Sprintf("..%d", v.updates)
	must(v.t, os.Mkdir(filepath.Join(v.dir, name), 0o755))
	must(v.t, os.WriteFile(filepath.Join(v.dir, name, "state"), []byte(state), 0o600))
	if token != "" {
		must(v.t, os.WriteFile(filepath.Join(v.dir, name, "access_token"), []byte(token), 0o600))
	}
	must(v.t, os.Symlink(name, filepath.Join(v.dir, "..data_tmp")))
	must(v.t, os.Rename(filepath.Join(v.dir, "..data_tmp"), filepath.Join(v.dir, "..data")))
	for _, key := range []string{"state", "access_token"} {
		_ = os.Symlink(filepath.Join("..data", key), filepath.Join(v.dir, key))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// call sends one request, and gives its status and how long it took.
func call(ctx context.Context, transport *Transport, body io.Reader) (int, time.Duration, error) {
	begun := time.Now()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.example.com/v1/me", body)
	if err != nil {
		return 0, 0, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, time.Since(begun), err
	}
	return response.StatusCode, time.Since(begun), response.Body.Close()
}

func expect(t *testing.T, status, wanted int, err error) {
	t.Helper()
	if err != nil || status != wanted {
		t.Fatalf("got %d, %v; wanted %d", status, err, wanted)
	}
}

func (a *api) expectSeen(t *testing.T, wanted ...string) {
	t.Helper()
	if fmt.Sprint(a.seen) != fmt.Sprint(wanted) {
		t.Fatalf("the API saw %q; wanted %q", a.seen, wanted)
	}
}

func TestTheTokenIsSentAsItStandsAndReadAnewEachTime(t *testing.T) {
	secret, pleo := mount(t), &api{good: awkward}
	transport := &Transport{Dir: secret.dir, Base: pleo}
	secret.update("Ready", awkward)
	status, _, err := call(t.Context(), transport, nil)
	expect(t, status, 200, err)
	secret.update("Ready", "B")
	pleo.accept("B")
	status, _, err = call(t.Context(), transport, nil)
	expect(t, status, 200, err)
	pleo.expectSeen(t, awkward+"|", "B|")
}

func TestAfterA401ItWaitsForAnotherTokenAndSendsTheBodyOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret, pleo, refused := mount(t), &api{good: "B"}, 0
		transport := &Transport{Dir: secret.dir, Base: pleo, OnRefused: func() { refused++ }}
		secret.update("Ready", "A")
		time.AfterFunc(40*time.Second, func() { secret.update("Ready", "B") })
		status, took, err := call(t.Context(), transport, strings.NewReader("body"))
		expect(t, status, 200, err)
		pleo.expectSeen(t, "A|body", "B|body")
		if refused != 1 || took < 40*time.Second || took > 45*time.Second {
			t.Fatalf("refused %d times, after %v", refused, took)
		}
	})
}

func TestAnUpdateThatWasThereAlreadyCostsNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret, pleo := mount(t), &api{good: "A"}
		transport := &Transport{Dir: secret.dir, Base: pleo, Cached: true}
		secret.update("Ready", "A")
		status, _, err := call(t.Context(), transport, nil)
		expect(t, status, 200, err)
		secret.update("Ready", "B")
		pleo.accept("B")
		status, took, err := call(t.Context(), transport, nil)
		expect(t, status, 200, err)
		pleo.expectSeen(t, "A|", "A|", "B|")
		if took != 0 {
			t.Fatalf("waited for %v", took)
		}
	})
}

func TestARefusedTokenIsSentByNobodyForTwoMinutes(t *testing.T) {
	for _, cached := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			secret, pleo := mount(t), &api{good: "none"}
			transport := &Transport{Dir: secret.dir, Base: pleo, Cached: cached}
			secret.update("Ready", "A")
			_, took, err := call(t.Context(), transport, nil)
			var none *NoTokenError
			if !errors.As(err, &none) || took != Patience {
				t.Fatalf("got %v after %v", err, took)
			}
			if strings.Contains(err.Error(), "A|") || len(pleo.seen) != 1 {
				t.Fatalf("%v; the API saw %q", err, pleo.seen)
			}
			// The 401 may have had another cause: the token is tried again then.
			pleo.accept("A")
			status, _, err := call(t.Context(), transport, nil)
			expect(t, status, 200, err)
			pleo.expectSeen(t, "A|", "A|")
		})
	}
}

func TestCallsAtTheSameTimeShareOneRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret, pleo := mount(t), &api{good: "B"}
		transport := &Transport{Dir: secret.dir, Base: pleo}
		secret.update("Ready", "A")
		var calls sync.WaitGroup
		for number := range 10 {
			calls.Go(func() {
				time.Sleep(time.Duration(number) * time.Second)
				status, _, err := call(t.Context(), transport, nil)
				if status != 200 || err != nil {
					t.Errorf("got %d, %v", status, err)
				}
			})
		}
		time.Sleep(20 * time.Second)
		secret.update("Ready", "B")
		calls.Wait()
		if len(pleo.seen) != 11 || pleo.seen[0] != "A|" || pleo.seen[1] != "B|" {
			t.Fatalf("the API saw %q", pleo.seen)
		}
	})
}

func TestTheContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret, pleo := mount(t), &api{good: "B"}
		secret.update("Ready", "A")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, took, err := call(ctx, &Transport{Dir: secret.dir, Base: pleo}, nil)
		if !errors.Is(err, context.DeadlineExceeded) || took != 3*time.Second {
			t.Fatalf("got %v after %v", err, took)
		}
		pleo.expectSeen(t, "A|")
	})
}

func TestItWaitsWhileThereIsNothingToSend(t *testing.T) {
	for _, first := range [][2]string{{"", ""}, {"Pending", ""}, {"Expired", "A"}, {"Ready", ""}} {
		synctest.Test(t, func(t *testing.T) {
			secret, pleo := mount(t), &api{good: "B"}
			if first[0] != "" {
				secret.update(first[0], first[1])
			}
			time.AfterFunc(time.Second, func() { secret.update("Ready", "B") })
			status, _, err := call(t.Context(), &Transport{Dir: secret.dir, Base: pleo}, nil)
			expect(t, status, 200, err)
			pleo.expectSeen(t, "B|")
		})
	}
}

func TestReauthRequiredIsAnErrorAtOnceAlsoWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret, pleo := mount(t), &api{good: "B"}
		transport := &Transport{Dir: secret.dir, Base: pleo}
		secret.update("Ready", "A")
		time.AfterFunc(time.Second, func() { secret.update("ReauthRequired", "") })
		if _, _, err := call(t.Context(), transport, nil); !errors.Is(err, ErrReauthRequired) {
			t.Fatalf("got %v", err)
		}
		if _, took, err := call(t.Context(), transport, nil); !errors.Is(err, ErrReauthRequired) || took != 0 {
			t.Fatalf("got %v after %v", err, took)
		}
		pleo.expectSeen(t, "A|")
		// After a new authorization it continues automatically.
		secret.update("Ready", "B")
		status, _, err := call(t.Context(), transport, nil)
		expect(t, status, 200, err)
	})
}

func TestABodyThatCannotBeHadAgainHandsThe401On(t *testing.T) {
	secret, pleo := mount(t), &api{good: "B"}
	secret.update("Ready", "A")
	status, _, err := call(t.Context(), &Transport{Dir: secret.dir, Base: pleo}, io.NopCloser(strings.NewReader("once")))
	expect(t, status, 401, err)
	pleo.expectSeen(t, "A|once")
}

func TestTheTokenGoesNeitherOverHTTPNorToAnotherHost(t *testing.T) {
	secret := mount(t)
	secret.update("Ready", "A")
	leaked := make(chan string, 2)
	other := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		leaked <- request.Header.Get("Authorization")
	}))
	defer other.Close()
	first := httptest.NewTLSServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		leaked <- request.Header.Get("Authorization")
		http.Redirect(writer, request, other.URL, http.StatusFound)
	}))
	defer first.Close()
	// Both test servers have the same certificate.
	client := &http.Client{Transport: &Transport{Dir: secret.dir, Base: first.Client().Transport}}
	response, err := client.Get(first.URL)
	must(t, err)
	must(t, response.Body.Close())
	if sent := <-leaked; sent != "Bearer A" {
		t.Fatalf("the first host got %q", sent)
	}
	if sent := <-leaked; sent != "" {
		t.Fatalf("the other host got %q", sent)
	}
	if _, err := client.Get(strings.Replace(first.URL, "https", "http", 1)); err == nil {
		t.Fatal("a token was sent over HTTP")
	}
}
