package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A client asks a running rollwatch the way a deploy tool does.
type client struct{ base string }

// document is the part of a verdict that the story tells.
type document struct {
	Rollout  string `json:"rollout"`
	Verdict  string `json:"verdict"`
	Final    bool   `json:"final"`
	Percent  int    `json:"percent"`
	Phase    string `json:"phase"`
	Progress string `json:"progress"`
	Reasons  []struct {
		Gate    string `json:"gate"`
		State   string `json:"state"`
		Message string `json:"message"`
	} `json:"reasons"`
	Action *struct {
		Kind  string `json:"kind"`
		Flag  string `json:"flag"`
		Image string `json:"image"`
	} `json:"action"`
}

// healthDocument is the aggregate health, as NestJS Terminus shapes it.
type healthDocument struct {
	Details map[string]struct {
		Status string `json:"status"`
	} `json:"details"`
}

// ready waits until rollwatch has read every target once.
func (c *client) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		err := c.call(ctx, http.MethodGet, "/-/ready", nil, nil)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// health is the aggregate; a 503 is an answer too.
func (c *client) health(ctx context.Context) (healthDocument, error) {
	var health healthDocument
	err := c.call(ctx, http.MethodGet, "/health", nil, &health)
	if len(health.Details) > 0 {
		return health, nil
	}
	return health, err
}

// register tells of the rollout and returns its id.
func (c *client) register(ctx context.Context) (string, error) {
	var rollout struct {
		ID string `json:"id"`
	}
	err := c.call(ctx, http.MethodPost, "/api/v1/rollouts", map[string]any{
		"service": ServiceName, "version": versionNew, "previous_version": versionOld, "strategy": "canary",
		"image": "example/" + ServiceName + ":" + versionNew, "previous_image": "example/" + ServiceName + ":" + versionOld,
	}, &rollout)
	return rollout.ID, err
}

// verdict is the newest document of a rollout.
func (c *client) verdict(ctx context.Context, rollout string) (document, error) {
	var d document
	err := c.call(ctx, http.MethodGet, "/api/v1/rollouts/"+rollout+"/verdict", nil, &d)
	return d, err
}

// call sends body as JSON and decodes the answer into result; a status that is
// not 2xx is an error with what the server said, after decoding what it could.
func (c *client) call(ctx context.Context, method, path string, body, result any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var payload bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&payload).Encode(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, &payload)
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	if result != nil && json.Valid(text) {
		if err := json.Unmarshal(text, result); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, bytes.TrimSpace(text))
	}
	return nil
}
