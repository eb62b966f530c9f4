package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/verdict"
)

// The deploy tools below follow what each tool's source does with an answer,
// with the settings that docs/api.md tells people to use.

const docsAddress = "http://rollwatch:9876"

// chapter returns the code blocks of one language in a chapter of docs/api.md.
func chapter(t *testing.T, title, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/api.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "## "+title+"\n")
	require.True(t, found, "docs/api.md has no chapter %s", title)
	rest, _, _ = strings.Cut(rest, "\n## ")
	matches := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(rest, -1)
	require.NotEmpty(t, matches, "no %s in %s", language, title)
	blocks := make([]string, len(matches))
	for i, match := range matches {
		blocks[i] = match[1]
	}
	return blocks
}

// eachVerdict asks with every verdict in force, and with a judge that has none
// (an empty word).
func eachVerdict(t *testing.T, ask func(w *world, word verdict.Word)) {
	t.Helper()
	for _, word := range append(slices.Clone(verdict.Words), "") {
		w := newWorld(t)
		if word == "" {
			w.judge.set(func(j *judge) { j.blind = errors.New("the window is gone") })
			w.register("api")
		} else {
			w.judge.decide(w.register("api"), word)
		}
		ask(w, word)
	}
}

func TestArgoRollouts(t *testing.T) {
	var template struct {
		Spec struct {
			Metrics []struct {
				SuccessCondition, FailureCondition string
				Provider                           struct {
					Web struct{ URL, JSONPath string }
				}
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(lowerKeys(chapter(t, "Argo Rollouts", "yaml")[0])), &template))
	metric := template.Spec.Metrics[0]
	field := strings.TrimSuffix(strings.TrimPrefix(metric.Provider.Web.JSONPath, "{$."), "}")
	words := regexp.MustCompile(`"(\w+)"`)
	holds := func(condition, result string) bool {
		return slices.ContainsFunc(words.FindAllStringSubmatch(condition, -1), func(m []string) bool { return m[1] == result })
	}
	want := map[verdict.Word]string{
		verdict.Continue: "Successful", verdict.Promote: "Successful", verdict.HoldOn: "Inconclusive", verdict.Rollback: "Failed", "": "Error",
	}
	eachVerdict(t, func(w *world, word verdict.Word) {
		answer := w.do(http.MethodGet, strings.TrimPrefix(metric.Provider.Web.URL, docsAddress), "")
		phase := "Inconclusive"
		if answer.Code < 200 || answer.Code >= 300 {
			phase = "Error"
		} else if result, _ := decodeAs[map[string]any](t, answer)[field].(string); holds(metric.SuccessCondition, result) {
			phase = "Successful"
		} else if holds(metric.FailureCondition, result) {
			phase = "Failed"
		}
		require.Equal(t, want[word], phase, "verdict %q", word)
	})
}

// lowerKeys lets Kubernetes' camelCase keys meet Go's fields without a tag each.
func lowerKeys(text string) string {
	return regexp.MustCompile(`(?m)^[ -]*\w+:`).ReplaceAllStringFunc(text, strings.ToLower)
}

func TestFlagger(t *testing.T) {
	var canary struct {
		Spec struct {
			Analysis struct {
				Webhooks []struct{ Name, Type, URL string }
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(chapter(t, "Flagger", "yaml")[0]), &canary))
	yes := map[string][]verdict.Word{
		"confirm-traffic-increase": {verdict.Continue, verdict.Promote},
		"confirm-promotion":        {verdict.Promote},
		"rollback":                 {verdict.Rollback},
	}
	require.Len(t, canary.Spec.Analysis.Webhooks, len(yes))
	eachVerdict(t, func(w *world, word verdict.Word) {
		for _, hook := range canary.Spec.Analysis.Webhooks {
			answer := w.do(http.MethodPost, strings.TrimPrefix(hook.URL, docsAddress),
				`{"name":"api","namespace":"prod","phase":"Progressing","checksum":"85d557f47b","metadata":{"eventMessage":"x"}}`)
			require.Equal(t, slices.Contains(yes[hook.Type], word), answer.Code >= 200 && answer.Code <= 202, "%s with verdict %q", hook.Type, word)
			require.Less(t, answer.Body.Len(), 2000, "it becomes the text of an event")
		}
	})
}

func TestSpinnaker(t *testing.T) {
	var stage struct {
		Method           string `json:"method"`
		URL              string `json:"url"`
		StatusJSONPath   string `json:"statusJsonPath"`
		ProgressJSONPath string `json:"progressJsonPath"`
		SuccessStatuses  string `json:"successStatuses"`
		TerminalStatuses string `json:"terminalStatuses"`
	}
	require.NoError(t, json.Unmarshal([]byte(chapter(t, "Spinnaker", "json")[0]), &stage))
	progress := strings.TrimPrefix(stage.ProgressJSONPath, "$.")
	poll := func(w *world, status string) string {
		answer := w.do(stage.Method, strings.TrimPrefix(stage.URL, docsAddress), "")
		switch {
		case answer.Code >= 500 || answer.Code == http.StatusTooManyRequests:
			return "RUNNING"
		case answer.Code >= 400:
			return "TERMINAL"
		}
		body := decodeAs[map[string]any](t, answer)
		require.IsType(t, "", body[progress], "progress must be a string")
		switch value := body[status].(type) {
		case float64:
			if value == 100 {
				return "SUCCEEDED"
			}
		case string:
			if strings.EqualFold(value, stage.SuccessStatuses) {
				return "SUCCEEDED"
			}
			if strings.EqualFold(value, stage.TerminalStatuses) {
				return "TERMINAL"
			}
		default:
			t.Fatalf("%s is a %T; it must be a string, a number or a boolean", status, value)
		}
		return "RUNNING"
	}
	word := strings.TrimPrefix(stage.StatusJSONPath, "$.")
	ends := map[verdict.Word]string{verdict.Promote: "SUCCEEDED", verdict.Rollback: "TERMINAL"}
	eachVerdict(t, func(w *world, said verdict.Word) {
		want := "RUNNING"
		if end, ok := ends[said]; ok {
			want = end
		}
		require.Equal(t, want, poll(w, word), "verdict %q", said)
		require.Equal(t, said == verdict.Promote, poll(w, "percent") == "SUCCEEDED", "percent with verdict %q", said)
	})
}

// curl -f ends with 22 from 400 on; --retry tries 503 again after Retry-After.
func TestCurlWaitsForTheVerdict(t *testing.T) {
	exit := map[verdict.Word]string{
		verdict.Continue: "try again", verdict.Promote: "0", verdict.HoldOn: "22", verdict.Rollback: "22", "": "try again",
	}
	eachVerdict(t, func(w *world, word verdict.Word) {
		answer := w.do(http.MethodGet, "/api/v1/services/api/gate/promote", "")
		got := "0"
		if slices.Contains([]int{408, 429, 500, 502, 503, 504}, answer.Code) {
			got = "try again"
			seconds, err := strconv.Atoi(answer.Header().Get("Retry-After"))
			require.NoError(t, err)
			require.Positive(t, seconds)
		} else if answer.Code >= 400 {
			got = "22"
		}
		require.Equal(t, exit[word], got, "verdict %q", word)
	})
}

var (
	command = regexp.MustCompile(`(?m)^\s*curl (?:[^\\\n]|\\\n)*`)
	address = regexp.MustCompile(docsAddress + `(\S+)`)
	payload = regexp.MustCompile(`--json '([^']*)'`)
	header  = regexp.MustCompile(`-H "([^:]+): ([^"]*)"`)
)

// Every curl of the documentation is understood by the API.
func TestCurlCommandsOfTheDocs(t *testing.T) {
	blocks := append(chapter(t, "A rollout in four requests", "sh"), chapter(t, "GitHub Actions", "yaml")...)
	sent := 0
	for _, block := range blocks {
		w := newWorld(t)
		id := w.register("api")
		w.judge.decide(id, verdict.Promote)
		for _, text := range command.FindAllString(block, -1) {
			method, body := http.MethodGet, ""
			if m := payload.FindStringSubmatch(text); m != nil {
				method, body = http.MethodPost, m[1]
			}
			r := request(method, strings.ReplaceAll(address.FindStringSubmatch(text)[1], "$ID", id), body)
			for _, m := range header.FindAllStringSubmatch(text, -1) {
				r.Header.Set(m[1], m[2])
			}
			answer := w.send(r)
			if strings.HasSuffix(r.URL.Path, "/gate/rollback") {
				require.Equal(t, http.StatusConflict, answer.Code, "there is nothing to roll back")
			} else {
				require.Equal(t, 2, answer.Code/100, "%s\n%s", text, answer.Body)
			}
			if method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/rollouts") {
				id = decodeAs[verdict.Rollout](t, answer).ID
				w.judge.decide(id, verdict.Promote)
			}
			sent++
		}
	}
	require.Equal(t, 7, sent)
}

// The tables of the documentation are those of the code.
func TestTablesOfTheDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	require.NoError(t, err)
	for word := range statuses {
		require.Contains(t, string(text), "| "+string(word)+" | "+strconv.Itoa(statuses[word])+" |")
	}
	row := func(name string, w *world) string {
		cells := []string{name}
		for _, gate := range gates {
			cells = append(cells, strconv.Itoa(w.do(http.MethodGet, "/api/v1/services/api/gate/"+gate, "").Code))
		}
		return "| " + strings.Join(cells, " | ") + " |"
	}
	eachVerdict(t, func(w *world, word verdict.Word) {
		name := string(word)
		if word == "" {
			name = "stale or starting"
		}
		require.Contains(t, string(text), row(name, w))
	})
}

// The recipe for a token in the documentation makes a line that is taken:
// sha256sum of "secret" is what it prints here.
func TestTokenRecipeOfTheDocs(t *testing.T) {
	printed := "deployer:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n"
	require.Contains(t, chapter(t, "Who may call", "sh")[0], "sha256sum")
	require.Equal(t, printed, line("deployer", "secret"))
	_, err := parseTokens(strings.NewReader(printed))
	require.NoError(t, err)
}
