package main

import (
	"cmp"
	"fmt"

	"github.com/rollwatch/rollwatch/cmd/rollwatch/strictyaml"
	"github.com/rollwatch/rollwatch/probes/pgbouncer"
	"github.com/rollwatch/rollwatch/probes/postgres"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// loadWithFiles is load for who will use the secrets: the files that the
// configuration names are read too, and one that cannot be used is a fault. A
// file that goes bad later costs only what it is for.
func (l configLoader) loadWithFiles() (*Config, error) {
	c, err := l.load()
	if err != nil {
		return nil, err
	}
	var faults strictyaml.Faults
	check := func(where string, problems []string) {
		for _, problem := range problems {
			faults = append(faults, strictyaml.Fault{File: l.name(), Path: where, Problem: problem})
		}
	}
	for _, t := range c.Targets {
		check(t.Kind.Section+" "+t.Config.TargetName(), targetFile(t.Config))
	}
	for _, w := range c.Webhooks {
		check("webhooks "+w.Name, fileProblems("secret_file", w.SecretFile, func(secret probe.Secret) []probe.Fault {
			w.Secret, w.SecretFile = secret, ""
			return w.Validate()
		}))
	}
	if err := c.API.CheckFile(); err != nil {
		check("api", []string{err.Error()})
	}
	if len(faults) > 0 {
		return nil, &faultyError{faults}
	}
	return c, nil
}

// name is what faults call the source of the configuration.
func (l configLoader) name() string { return cmp.Or(l.file, environmentName) }

// targetFile says what is wrong with the file that a target has its secret in.
func targetFile(c probe.Config) []string {
	switch c := c.(type) {
	case *postgres.Config:
		return fileProblems("url_file", c.URLFile, func(secret probe.Secret) []probe.Fault {
			read := *c
			read.URL, read.URLFile = secret, ""
			return read.Validate()
		})
	case *pgbouncer.Config:
		return fileProblems("url_file", c.URLFile, nil)
	case *redis.Config:
		return fileProblems("password_file", c.PasswordFile, nil)
	}
	return nil
}

// fileProblems reads a file of a secret, if there is one, and lets validate
// judge what is in it.
func fileProblems(key, path string, validate func(probe.Secret) []probe.Fault) []string {
	if path == "" {
		return nil
	}
	secret, err := probe.ReadSecretFile(path)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", key, err)}
	}
	if validate == nil {
		return nil
	}
	var problems []string
	for _, f := range validate(secret) {
		problems = append(problems, fmt.Sprintf("%s %s: %s; %s", key, path, f.Problem, f.Cure))
	}
	return problems
}
