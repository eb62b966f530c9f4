package live

// Where is a server's address and folder.
func (c control) Where() (addr, folder string) { return c.s.Addr, c.s.Folder }
