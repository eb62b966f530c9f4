package verdict

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/probe"
)

const (
	// maxInspecting bounds how long a registration, or a rollback, waits for the
	// databases to tell their schemas.
	maxInspecting = 3 * time.Second
	// maxSchema bounds what is kept of one, in bytes as it is stored.
	maxSchema = 2 << 20
)

// A FrozenSchema is what a database looked like when a rollout was registered.
type FrozenSchema struct {
	Database string    `json:"database"`     // the target
	ID       string    `json:"id,omitempty"` // hash of what is in it; empty: it is not known
	ReadAt   time.Time `json:"read_at,omitzero"`
	Unknown  string    `json:"unknown,omitempty"` // why it is not known
}

// freezeSchemas reads what the service's databases look like, and returns what is
// to be stored of them by its ids. A database that does not answer refuses no
// registration: it is not compared then.
func (e *Engine) freezeSchemas(ctx context.Context, s *service) (frozen []FrozenSchema, bodies map[string][]byte) {
	bodies = map[string][]byte{}
	for _, found := range e.inspect(ctx, s.Databases) {
		f := FrozenSchema{Database: found.Target}
		body, err := packSchema(found.Schema)
		if found.Schema == nil {
			err = cmp.Or(found.Err, errNoSchema)
		}
		if err != nil {
			f.Unknown = err.Error()
		} else {
			f.ID, f.ReadAt = schemaID(body), found.Schema.ReadAt
			bodies[f.ID] = body
		}
		frozen = append(frozen, f)
	}
	return frozen, bodies
}

var errNoSchema = errors.New("it was not read")

func (e *Engine) inspect(ctx context.Context, databases []string) []collector.Inspection {
	if e.opts.Inspect == nil || len(databases) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxInspecting)
	defer cancel()
	return e.opts.Inspect(ctx, databases)
}

// survey finds out what the advice on a rollout depends on. What cannot be read
// is said to be unknown, and never keeps a verdict back.
func (e *Engine) survey(ctx context.Context, r Rollout, now time.Time) ground {
	var g ground
	s, ok := e.services[r.Service]
	if !ok {
		return g
	}
	if len(e.opts.Flags) > 0 && len(r.FeatureFlags) > 0 {
		reading, cancel := context.WithTimeout(ctx, e.readingTime())
		defer cancel()
		var err error
		if g.flags, err = alerts.ReadFlags(reading, e.scene(s, r, now), e.opts.Flags, r.FeatureFlags); err != nil {
			g.flags = nil
			for _, flag := range r.FeatureFlags {
				g.flags = append(g.flags, alerts.FlagReading{Flag: flag, Not: err.Error()})
			}
		}
	}
	for _, found := range e.inspect(ctx, s.Databases) {
		g.schemas = append(g.schemas, e.compareSchema(ctx, r, found))
	}
	return g
}

// compareSchema holds a database as it is now against what was frozen.
func (e *Engine) compareSchema(ctx context.Context, r Rollout, found collector.Inspection) comparedSchema {
	c := comparedSchema{database: found.Target, unknown: "it was not read when the rollout was registered"}
	for _, frozen := range r.Schemas {
		if frozen.Database != found.Target {
			continue
		}
		if frozen.ID == "" {
			c.unknown += ": " + frozen.Unknown
			return c
		}
		before, err := e.opts.Ledger.schema(ctx, frozen.ID)
		if err != nil {
			c.unknown = err.Error()
			return c
		}
		c.unknown = ""
		if found.Schema != nil {
			c.from, c.to = frozen.ReadAt, found.Schema.ReadAt
			c.changes = alerts.CompareSchemas(found.Target, before, found.Schema)
		} else if found.Err == nil {
			found.Err = errNoSchema
		}
		if found.Err != nil {
			c.unknown = found.Err.Error()
		}
	}
	return c
}

// packSchema writes a schema down to be stored. The same schema gives the same
// bytes, so that rollouts which changed nothing share them.
func packSchema(s *probe.Schema) ([]byte, error) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if err := errors.Join(json.NewEncoder(zip).Encode(s), zip.Close()); err != nil {
		return nil, fmt.Errorf("write the schema down: %w", err)
	}
	if packed.Len() > maxSchema {
		return nil, fmt.Errorf("the schema takes %d bytes, and %d are kept at most", packed.Len(), maxSchema)
	}
	return packed.Bytes(), nil
}

func unpackSchema(packed []byte) (*probe.Schema, error) {
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	s := &probe.Schema{}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	return s, nil
}

func schemaID(packed []byte) string {
	sum := sha256.Sum256(packed)
	return "s-" + hex.EncodeToString(sum[:12])
}
