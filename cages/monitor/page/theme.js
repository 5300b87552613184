/** Light or dark, as it was chosen here: before anything is drawn, so that nothing flashes. */
;(() => {
  try {
    const theme = localStorage.getItem('theme')
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
  } catch {} // no storage: as the system has it
})()
