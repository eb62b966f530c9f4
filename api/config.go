package api

import (
	"fmt"
	"net/url"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Config is the `api:` section.
type Config struct {
	TokensFile string `yaml:"tokens_file,omitempty"`                             // name:sha256hex, one a line; without it writes are taken from loopback only
	Reads      Reads  `yaml:"reads,omitempty" jsonschema:"enum=open,enum=token"` // open by default

	// ExternalURL is where people reach this rollwatch, as in https://rollwatch.example; the links of verdicts and webhooks begin with it.
	ExternalURL string `yaml:"external_url,omitempty" jsonschema:"example=https://rollwatch.example"`
}

// Reads says who may read rollouts, verdicts and deliveries. /metrics, the
// health paths, the landing page and the contract are open to everybody.
type Reads string

// Who may read.
const (
	ReadsOpen  Reads = "open"
	ReadsToken Reads = "token"
)

// Validate names what contradicts itself.
func (c Config) Validate() []probe.Fault {
	var faults []probe.Fault
	if c.Reads == ReadsToken && c.TokensFile == "" {
		faults = append(faults, probe.Fault{
			Path:    "$.reads",
			Problem: "reads need a token, and there is no file of tokens",
			Cure:    "set tokens_file, or leave reads open",
		})
	}
	if c.ExternalURL != "" && !isAddress(c.ExternalURL) {
		faults = append(faults, probe.Fault{
			Path:    "$.external_url",
			Problem: "is not an address that people can follow",
			Cure:    "write it as https://rollwatch.example, without user, query or fragment",
		})
	}
	return faults
}

// isAddress says whether a link may begin with the text.
func isAddress(text string) bool {
	address, err := url.Parse(text)
	return err == nil && (address.Scheme == "http" || address.Scheme == "https") && address.Host != "" &&
		address.User == nil && address.RawQuery == "" && address.Fragment == ""
}

// CheckFile says why the tokens file cannot be used, if there is one.
func (c Config) CheckFile() error {
	if c.TokensFile == "" {
		return nil
	}
	file, err := probe.OpenRegular(c.TokensFile) // readTokens would wait for the writer of a pipe
	if err != nil {
		return fmt.Errorf("tokens_file: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("tokens_file: %w", err)
	}
	_, err = readTokens(c.TokensFile)
	return err
}
