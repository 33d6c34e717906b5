package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sort"
	"sync"
	"syscall"
	"time"
)

// Busy is what one line of output says of fifty calls a second without a token, through a proxy; half of them carry 200 KiB.
type Busy struct {
	// Answered, in whatever way.
	Calls int `json:"calls"`
	Good  int `json:"good"`
	// 503 of the proxy's own that says that the call was not carried out.
	Unavailable int `json:"unavailable"`
	// 424: a user must authorize.
	Reauth int `json:"reauth"`
	// Any other status from 400 on.
	Refused int `json:"refused"`
	// No answer.
	Failed int `json:"failed"`
	// Of good calls that took longer than 100 ms, in ms.
	Held    int   `json:"held"`
	HoldP50 int64 `json:"hold_p50"`
	HoldP99 int64 `json:"hold_p99"`
	HoldMax int64 `json:"hold_max"`
}

const held = 100 * time.Millisecond

type busy struct {
	sync.Mutex
	counts Busy
	holds  []int64
}

// runBusy never stops by itself. The ids of its calls begin with RUN.
func runBusy() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	client := &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	state, body := &busy{}, bytes.Repeat([]byte("x"), 200*1024)
	calls, lines := time.NewTicker(20*time.Millisecond), time.NewTicker(time.Second)
	for number := 0; ; {
		select {
		case <-stop:
			return
		case <-calls.C:
			number++
			go state.call(client, fmt.Sprintf("%s/v1/calls/%s-%d", os.Getenv("PLEO_API_URL"), os.Getenv("RUN"), number), number%2 == 0, body)
		case <-lines.C:
			state.print()
		}
	}
}

func (state *busy) call(client *http.Client, url string, withBody bool, body []byte) {
	began, method, sent := time.Now(), http.MethodGet, io.Reader(nil)
	if withBody {
		method, sent = http.MethodPost, bytes.NewReader(body)
	}
	request, err := http.NewRequest(method, url, sent)
	if err != nil {
		panic(err)
	}
	response, err := client.Do(request)
	state.Lock()
	defer state.Unlock()
	state.counts.Calls++
	if err != nil {
		state.counts.Failed++
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	problem := struct {
		CarriedOut string `json:"carried_out"`
	}{}
	_ = json.Unmarshal(text, &problem)
	switch {
	case response.StatusCode < 400:
		state.counts.Good++
		if took := time.Since(began); took > held {
			state.holds = append(state.holds, took.Milliseconds())
		}
	case response.StatusCode == 424:
		state.counts.Reauth++
	case response.StatusCode == 503 && problem.CarriedOut == "no":
		state.counts.Unavailable++
	default:
		state.counts.Refused++
		fmt.Fprintln(os.Stderr, response.Status, response.Header.Get("Pleo-Proxy"))
	}
}

func (state *busy) print() {
	state.Lock()
	defer state.Unlock()
	sort.Slice(state.holds, func(i, j int) bool { return state.holds[i] < state.holds[j] })
	if count := len(state.holds); count > 0 {
		state.counts.Held, state.counts.HoldMax = count, state.holds[count-1]
		state.counts.HoldP50, state.counts.HoldP99 = state.holds[count/2], state.holds[count*99/100]
	}
	line, err := json.Marshal(state.counts)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
